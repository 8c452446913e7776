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
    mask: Image.Image | None = None  # L, of the image's size: white where the subject is
    mask_sha256: str | None = None  # of the mask's own file
    hint: Image.Image | None = None  # RGB, of the image's size: what a ControlNet follows to it
    hint_sha256: str | None = None  # of the hint's file
    full_size: tuple[int, int] | None = None  # width and height of the file's picture, if they were read
    listed: bool = False  # the caption stands in metadata.jsonl or prompt.json, which win over a text file

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture before it was made smaller to be kept."""
        return self.full_size or self.image.size


@dataclass(frozen=True)
class PhotoSet:
    """All photos of a subject, and what to tell the user about them."""

    photos: tuple[Photo, ...]
    layout: str  # which layout was recognised, a sentence
    noun: str | None = None  # class word of a kohya folder's name
    token: str | None = None  # rare token of a kohya folder's name
    skipped: tuple[str, ...] = ()  # a sentence for each file that is not used
    duplicates: tuple[str, ...] = ()  # a sentence for each photo that repeats another
    masks: tuple[str, ...] = ()  # a sentence on how many photos have a mask, if any has
    resized: tuple[str, ...] = ()  # sentences on masks and hints that had another size than their photos

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be told, in order."""
        return (self.layout, *self.masks, *self.resized, *self.skipped, *self.duplicates)


def load_photos(sources: list[Path]) -> PhotoSet:
    """Read every photo in folders and files; writes nothing.

    Raises one BadDataError that names every file that cannot be used, with the reason and what to do about it.
    """
    found = find(sources)
    photos: list[Photo] = []
    resized: dict[str, list[str]] = {"Masks": [], "Hints": []}
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
        duplicates=find_duplicates(named) if len(named) <= FEW else (),
        masks=_masked(photos),
        resized=tuple(
            f"{what} resized to their pictures: {len(told)}, such as {told[0]}."
            for what, told in resized.items()
            if told
        ),
    )


def _load(candidate: Candidate, resized: dict[str, list[str]]) -> Photo:
    """Read a photo, with its mask and hint if it has them; `resized` is told of those of another size."""
    data = read_bytes(candidate.path)
    image, mask = decode_with_alpha(data)
    mask_sha256 = hint_sha256 = hint = None
    if candidate.mask is not None:
        mask, mask_sha256 = _beside(candidate.mask, "mask")
        if mask.size != image.size:
            resized["Masks"].append(f"{shown(candidate.mask)} and its picture have {_sizes(mask, image)} pixels")
        mask = mask.convert("L")
    if mask is not None and mask.getextrema()[1] == 0:
        raise BadDataError("has a mask that is empty: paint the subject white in it, or delete it")
    if candidate.hint is not None:
        hint, hint_sha256 = _beside(candidate.hint, "hint")
        if hint.size != image.size:
            _require_shape(candidate.hint, hint, image)
            resized["Hints"].append(f"{shown(candidate.hint)} and its picture have {_sizes(hint, image)} pixels")
    full_size, scale = image.size, min(1.0, KEPT_SIDE / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    image = _resized(image, size, Image.Resampling.LANCZOS)
    hint = hint and _resized(hint, size, Image.Resampling.LANCZOS)
    mask = mask and _resized(mask, size, Image.Resampling.BOX)
    if mask is not None and mask.getextrema()[0] == 255:
        mask = None  # it covers all, as an opaque alpha channel does
    digest = hashlib.sha256(data).hexdigest()
    about = (candidate.caption, candidate.repeats, mask, mask_sha256, hint, hint_sha256, full_size, candidate.listed)
    return Photo(candidate.path, digest, image, *about)


def _beside(path: Path, what: str) -> tuple[Image.Image, str]:
    """The picture in a file beside a photo, and the file's hash."""
    try:
        data = read_bytes(path)
        return decode(data), hashlib.sha256(data).hexdigest()
    except BadDataError as error:
        raise BadDataError(f"has a {what}, {shown(path.name)}, that {error}") from error


def _require_shape(path: Path, hint: Image.Image, photo: Image.Image) -> None:
    if abs(hint.width * photo.height / (hint.height * photo.width) - 1) > ASPECT:
        sizes = _sizes(hint, photo)
        raise BadDataError(f"and its hint {shown(path)} have different shapes ({sizes}); crop them alike")


def _resized(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, how)


def _masked(photos: list[Photo]) -> tuple[str, ...]:
    """How many photos have a mask, if any has."""
    count = sum(p.mask is not None for p in photos)
    if count == 0:
        return ()
    return (f"{count} of {len(photos)} photos have a mask; around it the loss counts less (unmasked_weight).",)


def _sizes(one: Image.Image, other: Image.Image) -> str:
    return f"{one.width}x{one.height} and {other.width}x{other.height}"


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
