"""Photos in: found, checked and decoded, every one of them, before anything is trained or written."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from booth.core.errors import BadDataError
from booth.data.decoding import decode, decode_with_alpha, read_bytes
from booth.data.duplicates import find_duplicates
from booth.data.layouts import Candidate, Findings, find, shown

KEPT_SIDE = 1024  # pixels of the shorter side kept in memory: the largest base's side, and a phone's photo has 3000


@dataclass(frozen=True)
class Photo:
    """One decoded photo."""

    path: Path
    sha256: str  # of the file, in hexadecimal
    image: Image.Image  # RGB, upright, shorter side at most 1024 pixels
    caption: str | None = None
    repeats: int = 1  # how often it comes in an epoch, relative to the others (kohya)
    mask: Image.Image | None = None  # L, of the image's size: white where the subject is
    mask_sha256: str | None = None  # of the mask's own file


@dataclass(frozen=True)
class PhotoSet:
    """All photos of a subject, and what to tell the user about them."""

    photos: tuple[Photo, ...]
    layout: str  # which layout was recognised, a sentence
    noun: str | None = None  # class word of a kohya folder's name
    token: str | None = None  # rare token of a kohya folder's name
    skipped: tuple[str, ...] = ()  # a sentence for each file that is not used
    duplicates: tuple[str, ...] = ()  # a sentence for each photo that repeats another
    masks: tuple[str, ...] = ()  # sentences on how many photos have a mask, and which masks were resized

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be told, in order."""
        return (self.layout, *self.masks, *self.skipped, *self.duplicates)


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
        found.bad.append(
            f"the kohya folders hold several subjects ({names}); name the folder of one, and the others with --also"
        )
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
        duplicates=find_duplicates(named),
        masks=(*_masked(photos), *resized),
    )


def _load(candidate: Candidate, resized: list[str]) -> Photo:
    data = read_bytes(candidate.path)
    image, mask = decode_with_alpha(data)
    mask_sha256: str | None = None
    if candidate.mask is not None:
        mask, mask_sha256 = _load_mask(candidate.mask)
        if mask.size != image.size:
            resized.append(
                f"{shown(candidate.mask)} is resized from {_size(mask)} to {_size(image)}, its photo's size."
            )
    if mask is not None and mask.getextrema()[1] == 0:
        raise BadDataError("has a mask that is empty: paint the subject white in it, or delete it")
    scale = min(1.0, KEPT_SIDE / min(image.size))
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    if mask is not None and mask.size != image.size:
        mask = mask.resize(image.size, Image.Resampling.BOX)
    if mask is not None and mask.getextrema()[0] == 255:
        mask = None  # it covers all, as an opaque alpha channel does
    digest = hashlib.sha256(data).hexdigest()
    return Photo(candidate.path, digest, image, candidate.caption, candidate.repeats, mask, mask_sha256)


def _load_mask(path: Path) -> tuple[Image.Image, str]:
    """The mask (L) in a file, and the file's hash."""
    try:
        data = read_bytes(path)
        return decode(data).convert("L"), hashlib.sha256(data).hexdigest()
    except BadDataError as error:
        raise BadDataError(f"has a mask, {path.name}, that {error}") from error


def _masked(photos: list[Photo]) -> list[str]:
    """How many photos have a mask, if any has."""
    count = sum(p.mask is not None for p in photos)
    if count == 0:
        return []
    return [f"{count} of {len(photos)} photos have a mask; around it the loss counts less (unmasked_weight)."]


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"


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
