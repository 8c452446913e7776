"""Compare: races, their tables and pictures, and the blind taste test."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from booth.core.words import duration, size
from booth.web.home import id_of
from booth.web.jobs import write_json
from booth.web.messages import Words, words_of
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.media import picture
from booth.web.runs import read_json
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
PLAN, NUMBERS, TASTE = "race.json", "comparison.json", "taste.json"
UNITS: dict[str, Callable[[float], str]] = {
    "cost/seconds": duration, "cost/peak_memory_bytes": size, "cost/bytes": size,
}  # fmt: skip
SHOWN = 6  # pictures of each method
PAIRS = 12


class Answer(BaseModel):
    """Which picture of a pair was preferred; neither where they are the same."""

    pair: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    winner: Annotated[str, Field(pattern="^(left|right|same)$")]


def races(studio: Studio) -> list[tuple[str, Path]]:
    """Every race of the home, by id, the latest first."""
    found = [f for f in studio.home.folders() if (f / PLAN).is_file() and (f / "runs").is_dir()]
    found.sort(key=lambda f: f.stat().st_mtime, reverse=True)
    return [(id_of("race:" + studio.home.relative(f)), f) for f in found]


def race_of(request: Request, key: str) -> Path:
    """The folder of a race, or 404."""
    found = dict(races(studio_of(request))).get(key)
    if found is None:
        raise HTTPException(404)
    return found


def pictures(folder: Path, method: str) -> list[Path]:
    """What a method's first finished run drew."""
    for run in sorted((folder / "runs").glob(f"{method}-*")):
        told = read_json(run / "run.json") or {}
        if told.get("method") == method and told.get("status") == "done":
            return [p for p in sorted((run / "concept_pictures").glob("*.png")) if not p.is_symlink()]
    return []


def told(folder: Path) -> dict[str, Any]:
    """What a race found, for its page."""
    numbers = read_json(folder / NUMBERS) or {}
    plan = numbers.get("plan") or (read_json(folder / PLAN) or {}).get("plan") or {}
    methods = numbers.get("methods") or {}
    columns = list(dict.fromkeys(name for m in methods.values() for name in m["columns"]))
    return {
        "name": folder.name,
        "subject": f"{plan.get('token', '')} {plan.get('noun', '')}".strip(),
        "methods": {m: {**about, "pictures": len(pictures(folder, m))} for m, about in methods.items()},
        "columns": [c for c in columns if any(c in m["columns"] for m in methods.values())],
        "verdict": numbers.get("verdict") or [],
        "failed": [{"method": str(f.get("method")), "error": str(f.get("error"))} for f in numbers.get("failed") or []],
        "points": _points(methods),
        "answers": len((read_json(folder / TASTE) or {}).get("choices") or []),
        "ranks": (read_json(folder / TASTE) or {}).get("ranks") or [],
    }


def heading(words: Words, column: str) -> tuple[str, str]:
    """What a column is called, and the encoder that its numbers are of; a metric without words keeps its name."""
    metric, *rest = column.split("/")
    key = f"metric.{metric}"
    if rest and words.has(f"{key}.{rest[0]}"):
        key += f".{rest.pop(0)}"
    return words.either(key, metric), " ".join(rest)


def shown_value(column: str, value: float) -> str:
    """A number of a column, for people."""
    unit = UNITS.get(column)
    return unit(value) if unit is not None else f"{value:.3g}"


def _points(methods: dict[str, Any]) -> list[dict[str, Any]]:
    """Quality against cost: the first quality that all have, and the seconds."""
    qualities = [n for n in next(iter(methods.values()), {"columns": {}})["columns"] if not n.startswith("cost")]
    cost = next((n for m in methods.values() for n in m["columns"] if n.startswith("cost") and "seconds" in n), None)
    if not qualities or cost is None:
        return []
    return [
        {
            "method": m,
            "quality": about["columns"][qualities[0]],
            "cost": about["columns"][cost]["value"],
            "name": qualities[0],
        }
        for m, about in methods.items()
        if qualities[0] in about["columns"] and cost in about["columns"]
    ]


@router.get("/compare", include_in_schema=False)
def index(request: Request) -> Response:
    """All races."""
    studio = studio_of(request)
    running = [
        job_shown(studio, j) for j in studio.library.all() if j.kind == "compare" and j.state not in ("done", "stopped")
    ]
    found = [{"id": key, **told(folder)} for key, folder in races(studio)]
    return page(request, "compare.html", here="compare", races=found, running=running)


@router.get("/compare/{key}", include_in_schema=False)
def one(request: Request, key: str) -> Response:
    """One race."""
    studio, folder = studio_of(request), race_of(request, key)
    place = studio.home.relative(folder)
    command = next((j.command for j in studio.library.all() if j.about.get("race") == place), "")
    race = {"id": key, **told(folder)}
    headings = {column: heading(words_of(request), column) for column in race["columns"]}
    return page(
        request, "race.html", here="compare", race=race, shown=SHOWN, command=command, headings=headings,
        number=shown_value,
    )  # fmt: skip


@router.get("/compare/{key}/taste", include_in_schema=False)
def taste(request: Request, key: str) -> Response:
    """The blind test."""
    folder = race_of(request, key)
    photos = sorted((folder / "photos").glob("*.png"))[:3]
    return page(request, "taste.html", here="compare", race={"id": key, **told(folder)}, photos=len(photos), goal=PAIRS)


@router.get("/api/races", tags=["races"])
def listed(request: Request) -> dict[str, object]:
    """Every race with its numbers."""
    return {"races": [{"id": key, **told(folder)} for key, folder in races(studio_of(request))]}


@router.post("/api/races/{key}/pair", tags=["races"], status_code=201)
def pair(request: Request, key: str) -> dict[str, object]:
    """A pair of pictures at the same prompt and seed; nothing in it says whose they are."""
    folder = race_of(request, key)
    files = {m: pictures(folder, m) for m in told(folder)["methods"]}
    able = [m for m, found in files.items() if found]
    if len(able) < 2:
        raise HTTPException(409)
    lot = secrets.SystemRandom()
    left, right = lot.sample(able, 2)
    place = lot.randrange(min(len(files[left]), len(files[right])))
    made = {"left": left, "right": right, "place": place, "race": key}
    name = secrets.token_hex(6)
    home = studio_of(request).home.studio / "pairs"
    home.mkdir(exist_ok=True)
    write_json(home / f"{name}.json", made)
    return {"pair": name, "left": f"/media/pairs/{name}/left", "right": f"/media/pairs/{name}/right"}


@router.post("/api/races/{key}/answer", tags=["races"])
def answer(request: Request, key: str, wish: Answer) -> dict[str, object]:
    """Keep an answer; the ranks follow from all of them, as by `booth taste`."""
    folder, file = race_of(request, key), studio_of(request).home.studio / "pairs" / f"{wish.pair}.json"
    made = read_json(file)
    if made is None or made.get("race") != key:
        raise HTTPException(404)
    kept = read_json(folder / TASTE) or {"choices": [], "ranks": [], "disagreements": []}
    winner = None if wish.winner == "same" else made[wish.winner]
    kept["choices"].append({"left": made["left"], "right": made["right"], "winner": winner})
    kept["ranks"] = _ranks(kept["choices"])
    write_json(folder / TASTE, kept)
    file.unlink()
    return {"answers": len(kept["choices"]), "left": made["left"], "right": made["right"], "ranks": kept["ranks"]}


def _ranks(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from booth.compare.taste import Choice, bradley_terry

    return [asdict(rank) for rank in bradley_terry([Choice(**c) for c in choices])]


@router.get("/media/pairs/{name}/{side}", tags=["media"], response_class=Response)
def of_pair(request: Request, name: str, side: str) -> Response:
    """One side of a pair."""
    studio = studio_of(request)
    made = read_json(studio.home.studio / "pairs" / f"{Path(name).name}.json")
    folder = dict(races(studio)).get(str((made or {}).get("race")))
    if made is None or folder is None or side not in ("left", "right"):
        raise HTTPException(404)
    found = pictures(folder, made[side])
    return picture(found[made["place"]] if made["place"] < len(found) else None, lasting=False)


@router.get("/media/races/{key}/{method}/{number}", tags=["media"], response_class=Response)
def media(request: Request, key: str, method: str, number: int) -> Response:
    """A picture that a method drew, or of the photos (`photos`)."""
    folder = race_of(request, key)
    if method == "photos":
        found = [p for p in sorted((folder / "photos").glob("*.png")) if not p.is_symlink()]
    elif method in told(folder)["methods"]:
        found = pictures(folder, method)
    else:
        found = []
    if not 0 <= number < len(found):
        raise HTTPException(404)
    return picture(found[number], lasting=False)
