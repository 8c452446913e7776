"""Photos in: found, checked and decoded, every one of them, before anything is trained or written."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from booth.core.errors import BadDataError
from booth.data.decoding import decode, read_bytes
from booth.data.duplicates import find_duplicates
from booth.data.layouts import Candidate, Findings, find, shown

FEW = 1000  # photos among which duplicates are looked for, each with each; a larger set shows no single subject
ASPECT = 0.02  # by how much of itself a hint's aspect may differ from its photo's
KEPT_SIDE = 1024  # pixels of the shorter side kept in memory: the largest base's side, and a phone's photo has 3000


@dataclass(frozen=True)
class Photo:
    """One decoded photo."""

    path: Path
    sha256: str  # of the file, in hexadecimal
    image: Image.Image  # RGB, upright, shorter side at most 1024 pixels
    caption: str | None = None
    repeats: int = 1  # how often it comes in an epoch, relative to the others (kohya)
    hint: Image.Image | None = None  # RGB, of the photo's size: what a ControlNet follows to it
    hint_sha256: str | None = None  # of the hint's file


@dataclass(frozen=True)
class PhotoSet:
    """All photos of a subject, and what to tell the user about them."""

    photos: tuple[Photo, ...]
    layout: str  # which layout was recognised, a sentence
    noun: str | None = None  # class word of a kohya folder's name
    token: str | None = None  # rare token of a kohya folder's name
    skipped: tuple[str, ...] = ()  # a sentence for each file that is not used
    duplicates: tuple[str, ...] = ()  # a sentence for each photo that repeats another
    resized: tuple[str, ...] = ()  # a sentence if hints had another size than their photos


def load_photos(sources: list[Path]) -> PhotoSet:
    """Read every photo in folders and files; writes nothing.

    Raises one BadDataError that names every file that cannot be used, with the reason and what to do about it.
    """
    found = find(sources)
    photos: list[Photo] = []
    resized: list[str] = []
    for candidate in _once(found):
        try:
            photos.append(_load(candidate, resized))
        except BadDataError as error:
            found.bad.append(f"{shown(candidate.path)} {shown(str(error))}")
    if len(found.subjects) > 1:
        names = ", ".join(sorted(f"{token} {noun}" for token, noun in found.subjects))
        found.bad.append(f"the kohya folders hold several subjects ({names}); teach one at a time, name its folder")
    if found.bad:
        raise BadDataError("\n".join(["These photos cannot be used; nothing was written:", *_bullets(found.bad)]))
    if not photos:
        raise BadDataError("There are no photos; name a folder or files of JPEG, PNG or WebP.")
    token, noun = next(iter(found.subjects), (None, None))
    named = [(shown(p.path), p.sha256, p.image) for p in photos]
    return PhotoSet(
        photos=_relative(photos),
        layout="; ".join(found.layouts) + ".",
        noun=noun,
        token=token,
        skipped=tuple(found.skipped),
        duplicates=find_duplicates(named) if len(named) <= FEW else (),
        resized=(f"{len(resized)} hints are resized to their pictures: {resized[0]}.",) if resized else (),
    )


def _load(candidate: Candidate, resized: list[str]) -> Photo:
    """Read a photo, and its hint if it has one; `resized` is told of a hint of another size."""
    data = read_bytes(candidate.path)
    image = decode(data)
    hint, hint_sha256 = _hint(candidate.hint, image.size, resized) if candidate.hint else (None, None)
    scale = KEPT_SIDE / min(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    if hint is not None and hint.size != image.size:
        hint = hint.resize(image.size, Image.Resampling.LANCZOS)
    sha256 = hashlib.sha256(data).hexdigest()
    return Photo(candidate.path, sha256, image, candidate.caption, candidate.repeats, hint, hint_sha256)


def _hint(path: Path, photo: tuple[int, int], resized: list[str]) -> tuple[Image.Image, str]:
    """The hint of a photo of that size, and its file's hash."""
    try:
        data = read_bytes(path)
        hint = decode(data)
    except BadDataError as error:
        raise BadDataError(f"has a hint, {shown(path)}, that {error}") from error
    if hint.size != photo:
        sizes = f"{hint.width}x{hint.height} and {photo[0]}x{photo[1]}"
        if abs(hint.width * photo[1] / (hint.height * photo[0]) - 1) > ASPECT:
            raise BadDataError(f"and its hint {shown(path)} have different shapes ({sizes}); crop them alike")
        resized.append(f"{shown(path)} and its picture have {sizes} pixels")
    return hint, hashlib.sha256(data).hexdigest()


def _once(found: Findings) -> list[Candidate]:
    """Candidates without those that were named twice, by a file and its folder for example."""
    kept: dict[str, Candidate] = {}
    for candidate in found.candidates:
        path = os.path.abspath(candidate.path)
        if path in kept:
            found.skipped.append(f"{shown(candidate.path)} skipped: it was named twice.")
        kept.setdefault(path, candidate)
    return list(kept.values())


def _relative(photos: list[Photo]) -> tuple[Photo, ...]:
    """Repeats divided by what they have in common: only their proportions matter, for the step count is set."""
    common = math.gcd(*(p.repeats for p in photos))
    return tuple(replace(p, repeats=p.repeats // common) for p in photos)


def _bullets(reasons: list[str]) -> list[str]:
    return [f"  - {reason}." for reason in reasons]
