"""Photos: sets of them, each photo with its verdicts, crop, mask and caption."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from booth.core.errors import BadDataError
from booth.web.home import Home
from booth.web.intake import MAX_BYTES
from booth.web.messages import words_of
from booth.web.pages.media import picture
from booth.web.photo import ChangedMeanwhile, Photo
from booth.web.photos import PhotoSet, PhotoSets
from booth.web.runs import read_json
from booth.web.view import page, studio_of

router = APIRouter()
GOOD_COUNT = (3, 20)  # photos that a subject is usually taught from
LEAST_CROP = 0.1  # of a photo's width and height
KEY = re.compile(r"photo-[0-9a-f]{12}-\d{1,20}")
RAW = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
UNMASKED = 0.1  # what the loss outside a mask weighs, unless a run says otherwise


class NewSet(BaseModel):
    """A set to be made."""

    name: str = Field("", max_length=80)


class Caption(BaseModel):
    """A caption, and of which version it is a change."""

    text: str = Field(max_length=4000)
    version: str = Field(max_length=32)


class Replacement(BaseModel):
    """A change of all captions; with nothing to find, words to put in front of each."""

    find: str = Field("", max_length=400)
    put: str = Field("", max_length=400)
    apply: bool = False


class Crop(BaseModel):
    """A part of a photo in shares of its width and height: left, top, right, bottom; none is all of it."""

    box: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None


def sets_of(request: Request) -> PhotoSets:
    """The sets of the studio's folder."""
    return PhotoSets(studio_of(request).home)


def set_of(request: Request, key: str) -> PhotoSet:
    """The set of an id, or 404."""
    found = sets_of(request).get(key)
    if found is None:
        raise HTTPException(404)
    return found


def photo_of(request: Request, key: str, photo: str) -> tuple[PhotoSet, Photo]:
    """A photo of a set, or 404."""
    photos = set_of(request, key)
    found = photos.get(photo)
    if found is None:
        raise HTTPException(404)
    return photos, found


def shown(photos: PhotoSet) -> dict[str, Any]:
    """A set as its page sees it."""
    about, survey = photos.about(), photos.survey()
    entries = [_entry(p, survey["photos"].get(p.file.name, {"verdicts": []}), about) for p in photos.photos()]
    return {
        "id": photos.id, "name": photos.name, "photos": entries, "same_background": survey["same_background"],
        "undo": len(about["undo"]), "about": {k: about.get(k, "") for k in ("noun", "token", "kind")},
        "ready": len(entries) >= 1 and not any(e["bad"] for e in entries), "unmasked": UNMASKED,
    }  # fmt: skip


def _entry(photo: Photo, facts: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """One photo as the page of its set sees it."""
    (caption, version), taken = photo.caption(), about["taken"].get(photo.file.name, {})
    verdicts = [*facts["verdicts"], *({"kind": kind} for kind in ("turned", "located") if taken.get(kind))]
    return {
        "id": photo.id, "name": photo.file.name, "width": facts.get("width"), "height": facts.get("height"),
        "verdicts": [{"other": "", "side": "", "text": ""} | v for v in verdicts], "bad": facts.get("bad", False),
        "mask": facts.get("mask"), "caption": caption, "version": version, "crop": about["crops"].get(photo.file.name),
        "stamp": photo.file.stat().st_mtime_ns,
    }  # fmt: skip


@router.get("/photos", include_in_schema=False)
def index(request: Request) -> Response:
    """All sets, and a place to drop photos for a new one."""
    sets = [
        {"id": s.id, "name": s.name, "count": len(photos), "first": [p.id for p in photos[:4]]}
        for s in sets_of(request).all() if (photos := s.photos()) or True
    ]  # fmt: skip
    return page(request, "photos.html", here="photos", sets=sets, first=not sets)


@router.get("/photos/{key}", include_in_schema=False)
def one(request: Request, key: str) -> Response:
    """One set."""
    return page(request, "photoset.html", here="photos", set=shown(set_of(request, key)), good=GOOD_COUNT)


@router.get("/api/photos", tags=["photos"])
def listed(request: Request) -> dict[str, object]:
    """Every set."""
    return {"sets": [{"id": s.id, "name": s.name, "count": len(s.photos())} for s in sets_of(request).all()]}


@router.post("/api/photos", tags=["photos"], status_code=201)
def new(request: Request, wish: NewSet) -> dict[str, object]:
    """Make an empty set."""
    made = sets_of(request).new(wish.name)
    return {"id": made.id, "name": made.name, "go": f"/photos/{made.id}"}


@router.get("/api/photos/{key}", tags=["photos"])
def state(request: Request, key: str) -> dict[str, object]:
    """A set with what is known of each photo."""
    return shown(set_of(request, key))


@router.put("/api/photos/{key}/upload", tags=["photos"], status_code=201, openapi_extra=RAW)
async def upload(
    request: Request, key: str, name: Annotated[str, Query(max_length=300)] = "photo"
) -> dict[str, object]:
    """Add one photo: JPEG, PNG or WebP by its content, as application/octet-stream."""
    import asyncio

    photos = await asyncio.to_thread(set_of, request, key)
    return await asyncio.to_thread(photos.take, name, await body(request))


async def body(request: Request) -> bytes:
    """What was sent, or BadDataError for more than a photo has."""
    parts: list[bytes] = []
    taken = 0
    async for part in request.stream():
        taken += len(part)
        if taken > MAX_BYTES:
            raise BadDataError(
                f"A photo has at most {MAX_BYTES // 2**20} MB.", "Make it smaller.", code="photo.too_large"
            )
        parts.append(part)
    if not taken:
        raise BadDataError("Nothing was sent.", code="photo.empty")
    return b"".join(parts)


@router.delete("/api/photos/{key}/{photo}", tags=["photos"])
def remove(request: Request, key: str, photo: str) -> dict[str, object]:
    """Take a photo out of its set; the answer's key has it back."""
    photos, found = photo_of(request, key, photo)
    return {"undo": photos.remove(found)}


@router.post("/api/restore/{key}", tags=["photos"])
def restore(request: Request, key: str) -> dict[str, object]:
    """Have a photo back that was taken out."""
    home: Home = studio_of(request).home
    told = read_json(home.trash / f"{key}.json") if KEY.fullmatch(key) else None
    if told is None:
        raise HTTPException(404)
    folder, place = home.root / str(told["folder"]), home.trash / key
    if not home.contains(folder) or not folder.is_dir():
        raise HTTPException(409)
    for file in sorted(place.iterdir()):
        if not (folder / file.name).exists():
            os.replace(file, folder / file.name)
    place.with_suffix(".json").unlink()
    return {"restored": key}


@router.put("/api/photos/{key}/{photo}/caption", tags=["photos"], response_model=None)
def caption(request: Request, key: str, photo: str, wish: Caption) -> dict[str, object] | Response:
    """Write a caption, unless it was changed on the disk meanwhile (409, with the one that is there)."""
    _, found = photo_of(request, key, photo)
    try:
        return {"version": found.write_caption(wish.text, wish.version), "text": found.caption()[0]}
    except ChangedMeanwhile as error:
        told = words_of(request).told(str(error))
        return JSONResponse({"error": told, "code": "changed", "text": error.text, "version": error.version}, 409)


@router.post("/api/photos/{key}/replace", tags=["photos"])
def replace(request: Request, key: str, wish: Replacement) -> dict[str, object]:
    """Find and replace in all captions: a preview, or applied."""
    return {"changes": set_of(request, key).replace(wish.find, wish.put, apply=wish.apply), "applied": wish.apply}


@router.post("/api/photos/{key}/undo", tags=["photos"])
def undo(request: Request, key: str) -> dict[str, object]:
    """Take back the last change of all captions."""
    return {"count": set_of(request, key).undo()}


@router.put("/api/photos/{key}/{photo}/crop", tags=["photos"])
def crop(request: Request, key: str, photo: str, wish: Crop) -> dict[str, object]:
    """Say which part of a photo is used; the photo itself stays as it is."""
    photos, found = photo_of(request, key, photo)
    crops = photos.about()["crops"]
    crops.pop(found.file.name, None)
    if wish.box is not None:
        left, top, right, bottom = (round(min(1.0, max(0.0, x)), 4) for x in wish.box)
        if right - left < LEAST_CROP or bottom - top < LEAST_CROP:
            raise BadDataError(
                "That part of the photo is too small.", "Draw a larger rectangle.", code="crop.too_small"
            )
        if (left, top, right, bottom) != (0, 0, 1, 1):
            crops[found.file.name] = [left, top, right, bottom]
    photos.note(crops=crops)
    return {"crop": crops.get(found.file.name)}


@router.put("/api/photos/{key}/{photo}/mask", tags=["photos"], openapi_extra=RAW)
async def mask(request: Request, key: str, photo: str) -> dict[str, object]:
    """Keep a mask, white where the subject is, sent as a PNG."""
    import asyncio

    photos, found = await asyncio.to_thread(photo_of, request, key, photo)
    return await asyncio.to_thread(photos.paint, found, await body(request))


@router.delete("/api/photos/{key}/{photo}/mask", tags=["photos"])
def no_mask(request: Request, key: str, photo: str) -> dict[str, object]:
    """Take a mask away."""
    photos, found = photo_of(request, key, photo)
    return photos.paint(found, None)


@router.get("/media/photos/{key}/{photo}", tags=["media"], response_class=Response)
def media(request: Request, key: str, photo: str, size: str = "full") -> Response:
    """A photo, its small picture (`size=thumb`), its mask (`size=mask`) or a mask to begin with (`size=outline`)."""
    photos, found = photo_of(request, key, photo)
    if size == "outline":
        return Response(photos.outline(found), media_type="image/png")
    file: Path = found.file
    if size == "thumb":
        file = photos.thumbs / f"{found.file.name}.webp"
        if not file.is_file():
            photos.survey()
        if not file.is_file():
            file = found.file
    elif size == "mask":
        file = found.mask
    if not file.is_file() or file.is_symlink() or not photos.home.contains(file):
        raise HTTPException(404)
    response = picture(file, lasting=False)
    assert isinstance(response, FileResponse)
    return response
