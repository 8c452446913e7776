"""Pictures, behind the same check as everything else: known by ids and numbers, never by paths."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

from booth.web.runs import Place
from booth.web.view import studio_of

router = APIRouter(prefix="/media", tags=["media"])
KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}


def picture(file: Path | None, *, lasting: bool = True) -> Response:
    """A picture's file; one that can change is asked for again each time."""
    if file is None:
        raise HTTPException(404)
    headers = {"cache-control": "private, max-age=86400" if lasting else "private, no-cache"}
    try:
        return FileResponse(file, media_type=KINDS[file.suffix.lower()], headers=headers, stat_result=file.stat())
    except OSError as error:
        raise HTTPException(404) from error


def place_of(request: Request, key: str) -> Place:
    """The run or concept of an id, or 404."""
    place = studio_of(request).places.get(key)
    if place is None:
        raise HTTPException(404)
    return place


def concept_of(request: Request, key: str) -> Place:
    """The finished concept of an id, or 404."""
    place = place_of(request, key)
    if not place.is_concept:
        raise HTTPException(404)
    return place


@router.get("/runs/{key}/previews/{step}/{number}", response_class=Response)
def preview(request: Request, key: str, step: int, number: int) -> Response:
    """A picture of a run's preview."""
    place = place_of(request, key)
    return picture(place.preview(studio_of(request).places.digest(place), step, number))


@router.get("/concepts/{key}/samples/{number}", response_class=Response)
def sample(request: Request, key: str, number: int) -> Response:
    """A picture that a finished concept was drawn with."""
    samples = place_of(request, key).samples()
    return picture(samples[number] if 0 <= number < len(samples) else None, lasting=False)
