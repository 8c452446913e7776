"""The wall: checkpoints by prompts at fixed seeds, the untouched base on top, the best one marked with its reason."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from booth.web.jobs import ACTIVE, Job
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.media import picture, place_of
from booth.web.pages.plan import catalogue_of
from booth.web.plans import _free
from booth.web.runs import Place, read_json
from booth.web.scoring import Scoring, words
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
FOLDER, FILE = "walls", "wall.json"


class Choice(BaseModel):
    """Which checkpoint to make another concept of."""

    step: int = Field(ge=1)


def measured(studio: Studio, place: Place) -> dict[str, Any] | None:
    """The wall of a concept, if it was measured since the concept was made."""
    file = studio.home.root / FOLDER / place.name / FILE
    told = read_json(file) if studio.home.contains(file) else None
    if told is None or told.get("concept") != place.name or not isinstance(told.get("rows"), list):
        return None
    record = place.out / "concept.json"
    return told if record.is_file() and file.stat().st_mtime >= record.stat().st_mtime else None


def job_of_wall(studio: Studio, place: Place) -> Job | None:
    """The job that measures it, unless it is over."""
    jobs = (j for j in studio.library.all() if j.kind == "wall" and j.about.get("concept") == place.id)
    return next((j for j in jobs if j.state in ACTIVE | {"queued", "failed"}), None)


def _trend(told: dict[str, Any]) -> dict[str, Any] | None:
    """How much more like the photos the pictures became, checkpoint by checkpoint, as places on a small chart."""
    rows = [(i, row) for i, row in enumerate(told["rows"]) if row["step"] is not None]
    if len(rows) < 2:
        return None
    values = [value for _, row in rows for value in (row["gain"]["low"], row["gain"]["high"])]
    most, least = max([*values, 0.1]), min([*values, 0.0])
    last = rows[-1][1]["step"]

    def y(value: float) -> float:
        return round(12 + 110 * (most - value) / (most - least), 1)

    points = [
        {
            "x": round(48 + 250 * row["step"] / last, 1), "y": y(row["gain"]["mean"]), "low": y(row["gain"]["low"]),
            "high": y(row["gain"]["high"]), "step": row["step"], "best": i == told["best"],
        }
        for i, row in rows
    ]  # fmt: skip
    return {"points": points, "zero": y(0.0), "top": y(most), "most": most}


def command_of_wall(studio: Studio, place: Place, told: dict[str, Any] | None) -> str:
    """What measures it, or has measured it, on the command line."""
    called = (told or {}).get("called") or []
    return shlex.join(["booth", *_words(studio, place, [f"--encoder={name}" for name in called])])


def _words(studio: Studio, place: Place, by: Sequence[str] = ()) -> list[str]:
    return ["wall", *by, f"--out={FOLDER}/{place.name}", "--json", "--", studio.home.relative(place.out)]


def queue(studio: Studio, place: Place, by: Sequence[str] = ()) -> Job:
    """Measure it, `by` options that say what sees likeness."""
    return studio.keeper.add("wall", _words(studio, place, by), about={"title": place.name, "concept": place.id})


def after_training(studio: Studio, job: Job) -> None:
    """A training that is done shows which checkpoint was best without being asked."""
    place = studio.places.of(studio.home.root / str(job.about["out"]))
    if place.is_concept and studio.places.digest(place).previews:
        queue(studio, place)


@router.get("/wall/{key}", include_in_schema=False)
def one(request: Request, key: str) -> Response:
    """The wall of a concept; before it was measured, the previews."""
    studio, place = studio_of(request), place_of(request, key)
    told, digest, job = measured(studio, place), studio.places.digest(place), job_of_wall(studio, place)
    kept = [j for j in studio.library.all() if j.kind == "keep" and j.about.get("of") == place.id]
    prompts = (told or {}).get("prompts") or []
    values = {
        "columns": [(prompt, len(list(same))) for prompt, same in groupby(prompts)],
        "seeds": (told or {}).get("seeds") if len(set(prompts)) < len(prompts) else None,
        "concept": {"id": place.id, "name": place.name, "done": place.is_concept},
        "wall": told,
        "previews": sorted(digest.previews.values(), key=lambda p: p["step"]),
        "job": None if job is None else job_shown(studio, job),
        "command": command_of_wall(studio, place, told),
        "trend": _trend(told) if told else None,
        "kept": [job_shown(studio, j) for j in kept],
        "token": str((place.record() or {}).get("subject", {}).get("token", "")),
    }
    return page(request, "wall.html", here="concepts", **values)


@router.get("/api/wall/{key}", tags=["wall"])
def state(request: Request, key: str) -> dict[str, object]:
    """The wall's numbers, once they were measured, and the job that measures it."""
    studio, place = studio_of(request), place_of(request, key)
    told, job = measured(studio, place), job_of_wall(studio, place)
    rows = None if told is None else [{k: v for k, v in row.items() if k != "files"} for row in told["rows"]]
    return {
        "wall": None if told is None else told | {"rows": rows},
        "job": None if job is None else job_shown(studio, job),
    }


@router.post("/api/wall/{key}", tags=["wall"], status_code=201)
def measure(request: Request, key: str, scoring: Scoring | None = None) -> dict[str, object]:
    """Queue its measurement, unless it is being measured; one that was measured is measured anew."""
    studio, place = studio_of(request), place_of(request, key)
    if not place.is_concept:
        raise HTTPException(409)
    by, job = words(catalogue_of(request), scoring or Scoring()), job_of_wall(studio, place)
    return job_shown(studio, job if job is not None and job.state != "failed" else queue(studio, place, by))


@router.post("/api/wall/{key}/keep", tags=["wall"], status_code=201)
def keep(request: Request, key: str, choice: Choice) -> dict[str, object]:
    """Queue another concept, of another checkpoint."""
    studio, place = studio_of(request), place_of(request, key)
    out = _free(studio, f"{place.name}-step-{choice.step}")
    words = [
        f"--keep={choice.step}",
        f"--out={studio.home.relative(out)}",
        "--json",
        "--",
        studio.home.relative(place.out),
    ]
    about = {"title": out.name, "out": studio.home.relative(out), "of": place.id, "step": choice.step}
    return job_shown(studio, studio.keeper.add("keep", ["wall", *words], about=about))


@router.get("/media/walls/{key}/{row}/{number}", tags=["media"], response_class=Response)
def media(request: Request, key: str, row: int, number: int) -> Response:
    """A picture of a wall, by row and column."""
    studio, place = studio_of(request), place_of(request, key)
    told = measured(studio, place)
    try:
        name = Path(str((told or {})["rows"][row]["files"][number]))
    except (KeyError, IndexError, TypeError) as error:
        raise HTTPException(404) from error
    file = name if name.is_absolute() else studio.home.root / name
    inside = any(
        file.resolve().is_relative_to(p.resolve()) for p in (place.out, studio.home.root / FOLDER / place.name)
    )
    return picture(place.picture(file) if inside and row >= 0 <= number else None, lasting=False)
