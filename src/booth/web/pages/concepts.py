"""Concepts: the library, one of them, export with its proof, import, rename and delete with undo."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field

from booth.core.commit import verify
from booth.core.errors import BoothError, UnsafeFileError, UsageError
from booth.registry import EXPORTERS
from booth.web.bases import EMBEDDED, bases_of
from booth.web.forms import Wrong
from booth.web.jobs import Job, write_json
from booth.web.pages.draw import concepts_of
from booth.web.pages.jobs import job_of
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.media import concept_of
from booth.web.pages.photos import RAW, sets_of
from booth.web.pages.plan import catalogue_of
from booth.web.plans import NO_BASE, WORDS, names_a_base
from booth.web.runs import Place, read_json
from booth.web.scoring import Scoring
from booth.web.scoring import words as words_of_scoring
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
NAME = re.compile(r"[\w][\w .-]{0,99}")
TRASHED = re.compile(r"concept-[0-9a-f]{12}-\d{1,20}")
HEADER = 8  # bytes of a safetensors file that tell how long its JSON is
MAX_HEADER = 100 * 2**20


class Name(BaseModel):
    """What a concept is to be called."""

    name: str = Field(max_length=100)


class Target(BaseModel):
    """The format of an export."""

    to: str = Field(max_length=40)
    precision: str = Field("fp32", pattern="^(fp32|fp16|bf16)$")
    lossy: bool = False


@router.get("/concepts", include_in_schema=False)
def index(request: Request) -> Response:
    """The library."""
    return page(
        request,
        "concepts.html",
        here="concepts",
        concepts=concepts_of(studio_of(request), catalogue_of(request)),
        bases=bases_of(studio_of(request).home),
    )


@router.get("/concepts/{key}", include_in_schema=False)
def one(request: Request, key: str) -> Response:
    """One concept: what it is, whether its files are whole, where it can go."""
    studio, place = studio_of(request), concept_of(request, key)
    record = place.record() or {}
    jobs = [j for j in studio.library.all() if j.about.get("concept") == place.id]
    exports = [job_shown(studio, j) | {"result": studio.library.folder(j).result()} for j in jobs if j.kind == "export"]
    reports = [
        job_shown(studio, j) | {"result": studio.library.folder(j).result()} for j in jobs if j.kind == "evaluate"
    ]
    values = {
        "concept": {
            "id": place.id, "name": place.name, "path": studio.home.relative(place.out), "run": place.has_run,
            "set": _photos_of(request, place),
        },
        "record": record, "samples": len(place.samples()), "damage": _damage(place), "exports": exports,
        "reports": reports[:1], "folders": _folders(record),
    }  # fmt: skip
    return page(request, "concept.html", here="concepts", **values)


def _photos_of(request: Request, place: Place) -> str:
    """The id of the set of photos that it was taught from, where the studio taught it and the set is still there."""
    out = studio_of(request).home.relative(place.out)
    taught = (j for j in studio_of(request).library.all() if j.kind == "train" and j.about.get("out") == out)
    key = str(next((j.about.get("set") for j in taught), None) or "")
    return key if key and sets_of(request).get(key) is not None else ""


def _damage(place: Place) -> str:
    """What is wrong with its files; nothing if each matches its hash."""
    try:
        verify(place.out)
    except BoothError as error:
        return str(error)
    return ""


def _folders(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Its weights with their sizes."""
    return [{"name": str(n), "bytes": b} for n, b in (record.get("sizes") or {}).items() if isinstance(b, int)]


@router.get("/concepts/{key}/formats", include_in_schema=False)
def formats(request: Request, key: str) -> Response:
    """Where it can go: a part of its page."""
    place = concept_of(request, key)
    family = (place.record() or {}).get("family")
    known = [f for f in catalogue_of(request).get()["formats"] if family in f["families"]]
    return page(request, "formats.html", concept={"id": place.id}, formats=known)


@router.get("/encoders", include_in_schema=False)
def encoders(request: Request) -> Response:
    """What pictures can be scored by: a part of the pages of a concept, a wall and a plan."""
    return page(request, "encoders.html", encoders=catalogue_of(request).encoders())


@router.get("/api/concepts", tags=["concepts"])
def listed(request: Request) -> dict[str, object]:
    """Every finished concept."""
    return {"concepts": concepts_of(studio_of(request), catalogue_of(request))}


@router.post("/api/concepts/{key}/name", tags=["concepts"])
def rename(request: Request, key: str, wish: Name) -> dict[str, object]:
    """Call it otherwise: its folder is renamed."""
    studio, place = studio_of(request), concept_of(request, key)
    name = wish.name.strip()
    if not NAME.fullmatch(name):
        raise Wrong(
            "name",
            "A name has letters, digits, spaces, dots and dashes, and begins with a letter or digit.",
            code="name.invalid",
        )
    out = place.out.with_name(name)
    if out.exists() or out.with_name(out.name + ".run").exists():
        raise Wrong("name", f"There is a concept called {name} already.", "Choose another name.", code="name.taken")
    os.rename(place.out, out)
    studio.places.forget()
    return {"go": f"/concepts/{studio.places.of(out).id}"}


@router.delete("/api/concepts/{key}", tags=["concepts"])
def delete(request: Request, key: str) -> dict[str, object]:
    """Put it into the trash; the answer's key has it back."""
    studio, place = studio_of(request), concept_of(request, key)
    if place.process() is not None:
        raise HTTPException(409)
    trashed = f"concept-{place.id}-{time.time_ns()}"
    studio.home.trash.mkdir(parents=True, exist_ok=True)
    write_json(studio.home.trash / f"{trashed}.json", {"out": studio.home.relative(place.out)})
    os.replace(place.out, studio.home.trash / trashed)
    studio.places.forget()
    return {"undo": trashed}


@router.post("/api/concepts/restore/{key}", tags=["concepts"])
def restore(request: Request, key: str) -> dict[str, object]:
    """Have a concept back that was deleted."""
    studio = studio_of(request)
    told = read_json(studio.home.trash / f"{key}.json") if TRASHED.fullmatch(key) else None
    if told is None:
        raise HTTPException(404)
    out = studio.home.root / str(told["out"])
    if out.exists() or not studio.home.contains(out.parent):
        raise HTTPException(409)
    os.replace(studio.home.trash / key, out)
    (studio.home.trash / f"{key}.json").unlink()
    studio.places.forget()
    return {"go": f"/concepts/{studio.places.of(out).id}"}


@router.post("/api/concepts/{key}/export", tags=["concepts"], status_code=201)
def export(request: Request, key: str, target: Target) -> dict[str, object]:
    """Queue an export: written, read back by the target's rules, and only then put in place."""
    studio, place = studio_of(request), concept_of(request, key)
    if target.to not in EXPORTERS:
        raise Wrong(
            "to", f"There is no format {target.to!r}.", f"There are: {', '.join(EXPORTERS)}.", code="export.unknown"
        )
    form = next((f for f in catalogue_of(request).get()["formats"] if f["name"] == target.to), None)
    suffix = form["suffix"] if form is not None else ""
    out = _free(studio.home.root / "exports" / f"{place.name}-{target.to}{suffix}")
    words = [f"--to={target.to}", f"--precision={target.precision}", *(["--lossy"] if target.lossy else [])]
    words += [f"--out={studio.home.relative(out)}", "--json", "--", studio.home.relative(place.out)]
    about = {
        "title": f"{place.name} → {target.to}",
        "concept": place.id,
        "to": target.to,
        "file": studio.home.relative(out),
    }
    return job_shown(studio, studio.keeper.add("export", ["export", *words], about=about))


@router.post("/api/concepts/{key}/evaluate", tags=["concepts"], status_code=201)
def evaluate(request: Request, key: str, scoring: Scoring | None = None) -> dict[str, object]:
    """Queue a quick evaluation beside the untouched base."""
    studio, place = studio_of(request), concept_of(request, key)
    by = words_of_scoring(catalogue_of(request), scoring or Scoring(), alone=True)
    out = _free(studio.home.root / "evaluations" / place.name)
    words = ["--quick", *by, f"--out={studio.home.relative(out)}", "--json", "--", studio.home.relative(place.out)]
    about = {"title": place.name, "concept": place.id}
    return job_shown(studio, studio.keeper.add("evaluate", ["evaluate", *words], about=about))


def _free(file: Path) -> Path:
    found, number = file, 1
    while found.exists():
        number += 1
        found = file.with_name(f"{file.stem}-{number}{file.suffix}")
    return found


@router.get("/media/exports/{key}", tags=["media"], response_class=Response)
def download(request: Request, key: str) -> Response:
    """The file of an export."""
    studio, job = studio_of(request), job_of(request, key)
    file = studio.home.root / str(job.about.get("file", "")) if job.kind == "export" and job.state == "done" else None
    if file is None or file.is_symlink() or not file.is_file() or not studio.home.contains(file):
        raise HTTPException(404)
    return FileResponse(file, media_type="application/octet-stream", filename=file.name)


@router.put("/api/import", tags=["concepts"], status_code=201, openapi_extra=RAW)
async def import_file(
    request: Request,
    name: Annotated[str, Query(max_length=200)] = "imported",
    noun: Annotated[str, Query(max_length=60)] = "",
    token: Annotated[str, Query(max_length=60)] = "",
    base: Annotated[str, Query(max_length=300)] = EMBEDDED,
) -> dict[str, object]:
    """Take in another trainer's .safetensors, sent as application/octet-stream, and queue its import."""
    studio = studio_of(request)
    if not names_a_base(base):
        raise Wrong("base", NO_BASE, code="base.invalid")
    for word in filter(None, (noun, token)):
        if not WORDS.fullmatch(word):
            raise Wrong(
                "noun", "The noun and the token are made of letters, digits, dots and dashes.", code="noun.invalid"
            )
    folder = studio.home.studio / "inputs"
    folder.mkdir(exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "-", name.rsplit("/", 1)[-1].removesuffix(".safetensors")).strip("-.")[:80] or "imported"
    place = folder / f"{secrets.token_hex(6)}-{stem}.safetensors"
    await _to_disk(request, place)
    words = [
        *([f"--class={noun}"] if noun else []),
        *([f"--token={token}"] if token else []),
        f"--base={base}",
        "--json",
    ]
    argv = ["import", *words, "--", studio.home.relative(place)]
    return job_shown(studio, studio.keeper.add("import", argv, about={"title": stem}))


async def _to_disk(request: Request, place: Path) -> None:
    """A file as it comes, decided by its content: a safetensors begins with the length of its JSON."""
    taken, head = 0, b""
    try:
        with place.open("xb") as file:
            async for part in request.stream():
                head = (head + part)[: HEADER + 1]
                if len(head) > HEADER and (
                    head[HEADER:] != b"{" or int.from_bytes(head[:HEADER], "little") > MAX_HEADER
                ):
                    raise UnsafeFileError(
                        "This is no .safetensors file.",
                        "Only those are taken: others can run code.",
                        code="file.not_safetensors",
                        field="file",
                    )
                taken += len(part)
                file.write(part)
        if len(head) <= HEADER:
            raise UsageError("Nothing was sent.", code="upload.empty", field="file")
    except BaseException:
        place.unlink(missing_ok=True)
        raise


def exported(studio: Studio, job: Job, result: dict[str, Any]) -> str | None:
    """Why an export is not done: its file is not there."""
    return None if (studio.home.root / str(job.about.get("file", ""))).is_file() else "The file is not there."
