"""Draw: prompts, concepts and pictures to start from; every drawing reopens with its settings."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from booth.core.errors import BadDataError
from booth.registry import CONTROLS
from booth.web.catalogue import Catalogue
from booth.web.forms import Wrong
from booth.web.home import ID
from booth.web.jobs import Job
from booth.web.limited import child
from booth.web.messages import words_of
from booth.web.pages.jobs import job_of
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.media import picture
from booth.web.pages.photos import RAW, body
from booth.web.pages.plan import catalogue_of
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
SHOWN = 24  # drawings of the history
Id = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]


class Used(BaseModel):
    """A concept and how strongly it is used."""

    id: Id
    strength: float = Field(1.0, ge=0, le=3)


class Guide(BaseModel):
    """A picture that a ControlNet follows, sent before."""

    input: Id
    kind: str = Field(max_length=40)
    strength: float = Field(1.0, ge=0, le=3)


class Drawing(BaseModel):
    """What is to be drawn."""

    prompt: str = Field(min_length=1, max_length=1000)
    negative: str = Field("", max_length=1000)
    concepts: list[Used] = Field(default_factory=list, max_length=6)
    count: int = Field(4, ge=1, le=16)
    seed: int = Field(0, ge=0, lt=2**62)
    steps: int = Field(30, ge=1, le=200)
    guidance: float | None = Field(None, ge=0, le=50)
    size: int | None = Field(None, ge=32, le=2048)
    start: Id | None = None  # a picture to draw over, sent before
    mask: Id | None = None  # what of it is drawn anew
    strength: float | None = Field(None, gt=0, le=1)
    guides: list[Guide] = Field(default_factory=list, max_length=3)
    upscale: Literal[1, 2] = 1


def concepts_of(studio: Studio, catalogue: Catalogue) -> list[dict[str, object]]:
    """What can be drawn with; until the catalogue is ready, each counts as one whose effect can be scaled."""
    methods = catalogue.get()["methods"] if catalogue.ready else {}
    found: list[dict[str, Any]] = []
    for place in studio.places.all():
        record = place.record() if place.is_concept else None
        if record is not None:
            subject = record.get("subject") or {}
            method = str(record.get("method", ""))
            last = next((str(stage.get("method", "")) for stage in reversed(record.get("stages") or [])), method)
            found.append(
                {
                    "id": place.id, "name": place.name, "method": method,
                    "prompt": str(record.get("prompt", "")), "base": str((record.get("base") or {}).get("name", "")),
                    "subject": f"{subject.get('token', '')} {subject.get('noun', '')}".strip(),
                    "has_strength": methods.get(last, {}).get("has_strength", True),
                    "bytes": record.get("artifact_bytes") or 0, "samples": len(place.samples()),
                }
            )  # fmt: skip
    return found


def input_file(studio: Studio, key: str) -> Path:
    """A picture that was sent before; Wrong if there is none."""
    for suffix in (".png", ".jpg"):
        file = studio.home.studio / "inputs" / f"{key}{suffix}"
        if ID.fullmatch(key) and file.is_file() and not file.is_symlink():
            return file
    raise Wrong("start", "A picture to start from is gone.", "Choose it again.", code="picture.gone")


@router.get("/draw", include_in_schema=False)
def index(request: Request, concept: str = "", like: str = "") -> Response:
    """The form, filled in as a former drawing was or for a concept, and what was drawn."""
    studio = studio_of(request)
    concepts = concepts_of(studio, catalogue_of(request))
    former = studio.library.get(like) if like else None
    asked = (former.about.get("request") or {}) if former is not None and former.kind == "generate" else {}
    if not asked:
        chosen = next((c for c in concepts if c["id"] == concept), concepts[0] if concepts else None)
        asked = {"concepts": [{"id": chosen["id"], "strength": 1.0}], "prompt": chosen["prompt"]} if chosen else {}
    asked = Drawing.model_construct(**asked).model_dump(warnings=False) | {
        "prompt": asked.get("prompt", "a photo of a dog")
    }
    values = {"concepts": concepts, "asked": asked, "controls": list(CONTROLS), "history": history(studio)}
    return page(request, "draw.html", here="draw", **values)


def history(studio: Studio) -> list[dict[str, object]]:
    """The latest drawings."""
    jobs = [j for j in studio.library.all() if j.kind == "generate"][:SHOWN]
    return [job_shown(studio, j) | {"count": len(pictures(studio, j))} for j in jobs]


def pictures(studio: Studio, job: Job) -> list[Path]:
    """The files of a finished drawing, of those that lie where they should."""
    if job.state != "done":
        return []
    named = [Path(str(name)).name for name in (studio.library.folder(job).result() or {}).get("images") or []]
    folder = studio.home.pictures / job.id
    if folder.is_symlink() or not studio.home.contains(folder):
        return []
    return [f for name in named if (f := folder / name).is_file() and not f.is_symlink()]


@router.put("/api/draw/inputs", tags=["draw"], status_code=201, openapi_extra=RAW)
async def send_input(request: Request) -> dict[str, object]:
    """Send a picture to draw over, a mask, or one to follow, as application/octet-stream; the answer is its id."""
    studio, key = studio_of(request), secrets.token_hex(6)
    folder = studio.home.studio / "inputs"
    folder.mkdir(exist_ok=True)
    told = await asyncio.to_thread(child, ["take", str(folder), key], await body(request))
    if "error" in told:
        raise BadDataError(f"This picture {told['error']}.", code="picture.unreadable")
    return {"id": key}


@router.post("/api/draw", tags=["draw"], status_code=201)
def draw(request: Request, wish: Drawing) -> dict[str, object]:
    """Queue a drawing."""
    return job_shown(studio_of(request), queue(studio_of(request), wish))


def queue(studio: Studio, wish: Drawing) -> Job:
    """The drawing as a job; Wrong names the field that makes no sense."""
    if not all(c.isprintable() for c in wish.prompt + wish.negative):
        raise Wrong("prompt", "A prompt has no control characters.", "Take them out.", code="prompt.control_characters")
    words = [f"--count={wish.count}", f"--seed={wish.seed}", f"--steps={wish.steps}"]
    for name in ("guidance", "size"):
        if (value := getattr(wish, name)) is not None:
            words.append(f"--{name}={value:g}")
    words += [f"--negative={wish.negative}"] if wish.negative else []
    words += [f"--upscale={wish.upscale}"] if wish.upscale != 1 else []
    if wish.start is not None:
        words.append(f"--init={studio.home.relative(input_file(studio, wish.start))}")
        words += [f"--mask={studio.home.relative(input_file(studio, wish.mask))}"] if wish.mask else []
        words += [f"--strength={wish.strength:g}"] if wish.strength is not None else []
    for guide in wish.guides:
        if guide.kind not in CONTROLS:
            raise Wrong(
                "guides",
                f"There is no control {guide.kind!r}.",
                f"There are: {', '.join(CONTROLS)}.",
                code="control.unknown",
            )
        words += [f"--control={studio.home.relative(input_file(studio, guide.input))}:{guide.strength:g}"]
        words += [f"--control-type={guide.kind}"]
    used: list[str] = []
    for one in wish.concepts:
        place = studio.places.get(one.id)
        if place is None or not place.is_concept:
            raise Wrong("concepts", "One of these concepts is gone.", "Choose another one.", code="concept.gone")
        used.append(f"{studio.home.relative(place.out)}:{one.strength:g}")
    words += [f"--concept={other}" for other in used[1:]] if used else ["--base=embedded"]
    key = secrets.token_hex(6)
    about = {"title": wish.prompt[:80], "request": wish.model_dump()}
    argv = ["generate", *words, f"--out=pictures/{key}", "--json", "--", *used[:1], wish.prompt]
    return studio.keeper.add("generate", argv, about=about, key=key)


@router.get("/api/draw/{key}", tags=["draw"])
def one(request: Request, key: str) -> dict[str, object]:
    """A drawing, and how many pictures it has."""
    studio, job = studio_of(request), job_of(request, key)
    words = words_of(request)
    said = [words.told(line) for line in studio.library.folder(job).said(4)]
    return job_shown(studio, job) | {
        "count": len(pictures(studio, job)), "said": said, "reason": words.told(job.reason)
    }  # fmt: skip


@router.get("/media/drawings/{key}/{number}", tags=["media"], response_class=Response)
def media(request: Request, key: str, number: int) -> Response:
    """A picture that was drawn; its settings are in it."""
    found = pictures(studio_of(request), job_of(request, key))
    if not 0 <= number < len(found):
        raise HTTPException(404)
    return picture(found[number])
