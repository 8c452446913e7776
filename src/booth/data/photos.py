"""Photos in: found, checked and decoded, every one of them, before anything is trained or written."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.data.account import Candidate, Findings, LeftOut, limited, sentences
from booth.data.decoding import Decoded, decode_fully, decode_mask, read_bytes
from booth.data.duplicates import find_duplicates
from booth.data.layouts import find

FEW = 1000  # photos among which duplicates are looked for, each with each; a larger set shows no single subject
ASPECT = 0.02  # by how much of itself a control image's aspect may differ from its photo's
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
    control_image: Image.Image | None = None  # RGB, of the image's size: what a ControlNet follows to it
    control_image_sha256: str | None = None  # of the control image's file
    full_size: tuple[int, int] | None = None  # width and height of the file's picture, if they were read
    listed: bool = False  # the caption stands in a list such as metadata.jsonl, which wins over a text file
    caption_file: Path | None = None  # where the caption was read

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
    skipped: tuple[str, ...] = ()  # sentences on the files that are not used
    left_out: tuple[LeftOut, ...] = ()  # each of them
    duplicates: tuple[str, ...] = ()  # a sentence for each photo that repeats another
    masks: tuple[str, ...] = ()  # a sentence on how many photos have a mask, if any has
    resized: tuple[
        str, ...
    ] = ()  # sentences on masks and control images that had another size or form than their photos

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
    changed: dict[str, list[str]] = {}
    for candidate in _once(found):
        try:
            photos.append(_load(candidate, changed))
        except BadDataError as error:
            found.bad.append(f"{printable(candidate.path)} {printable(str(error))}")
    if len(found.subjects) > 1:
        names = ", ".join(sorted(f"{token} {noun}".strip() for token, noun in found.subjects))
        found.bad.append(
            f"the kohya folders hold several subjects ({names}); name the folder of one, and the others with `also`"
        )
    if found.bad:
        faults = [f"  - {fault}." for fault in limited(found.bad)]
        raise BadDataError(
            "\n".join(["These photos cannot be used; nothing was written:", *faults]),
            code="photos.unusable",
            field="photos",
        )
    if not photos:
        raise BadDataError(
            "There are no photos; name a folder or files of JPEG, PNG or WebP.", code="photos.none", field="photos"
        )
    token, noun = next((s for s in found.subjects if s[1]), (None, None))
    named = [(printable(p.path), p.sha256, p.image) for p in photos]
    return PhotoSet(
        photos=_relative(photos),
        layout="; ".join(found.layouts) + ".",
        noun=noun,
        token=token,
        skipped=sentences(found.left),
        left_out=tuple(found.left),
        duplicates=find_duplicates(named) if len(named) <= FEW else (),
        masks=_masked(photos),
        resized=tuple(f"{what}: {len(told)}, such as {told[0]}." for what, told in changed.items()),
    )


def _load(candidate: Candidate, changed: dict[str, list[str]]) -> Photo:
    """Read a photo, with its mask and control image if it has them; `changed` is told of what was done to those."""
    data = read_bytes(candidate.path)
    photo = decode_fully(data)
    image, mask = photo.image, photo.alpha
    mask_sha256 = control_image_sha256 = control_image = None
    if candidate.mask is not None:
        mask, mask_sha256 = _beside(candidate.mask, "mask", photo, changed)
    if mask is not None and mask.getextrema()[1] == 0:
        raise BadDataError(
            "has a mask that is empty: paint the subject white in it, or delete it", code="mask.empty", field="photos"
        )
    if candidate.control_image is not None:
        control_image, control_image_sha256 = _beside(candidate.control_image, "hint", photo, changed)
    full_size, scale = image.size, min(1.0, KEPT_SIDE / min(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = _resized(image, size, Image.Resampling.LANCZOS)
    control_image = control_image and _resized(control_image, size, Image.Resampling.LANCZOS)
    mask = mask and _resized(mask, size, Image.Resampling.BOX)
    if mask is not None and len(set(mask.getextrema())) == 1:
        if candidate.mask is not None:
            same = "white" if mask.getextrema()[0] == 255 else "of one grey"
            told = f"Masks that are {same} all over and change nothing"
            changed.setdefault(told, []).append(printable(candidate.mask))
        mask = None  # it covers all, as an opaque alpha channel does
    digest = hashlib.sha256(data).hexdigest()
    about = (
        candidate.caption,
        candidate.repeats,
        mask,
        mask_sha256,
        control_image,
        control_image_sha256,
        full_size,
        candidate.listed,
    )
    return Photo(candidate.path, digest, image, *about, caption_file=candidate.caption_file)


def _beside(path: Path, what: str, photo: Decoded, changed: dict[str, list[str]]) -> tuple[Image.Image, str]:
    """The mask or control image in a file beside a photo, in the photo's shape, and the file's hash.

    One that was drawn over the photo as it lies in its file is turned with it; BadDataError for any other shape.
    """
    told = ""
    try:
        data = read_bytes(path)
        found, told = decode_mask(data) if what == "mask" else (decode_fully(data).image, "")
    except BadDataError as error:
        raise BadDataError(
            f"has a {what}, {printable(path.name)}, that {error.sentence}",
            error.advice,
            code=f"mask.{error.code}",
            field="photos",
        ) from error
    if told:
        changed.setdefault(f"{what.capitalize()}s read {told}", []).append(printable(path))
    if (
        not _same_shape(found.size, photo.image.size)
        and photo.turn is not None
        and _same_shape(found.size, photo.stored)
    ):
        found = found.transpose(photo.turn)
        changed.setdefault(f"{what.capitalize()}s turned with their pictures", []).append(printable(path))
    if found.size == photo.image.size:
        return found, hashlib.sha256(data).hexdigest()
    sizes = _sizes(found, photo.image)
    if not _same_shape(found.size, photo.image.size):
        raise BadDataError(
            f"and its {what} {printable(path)} have different shapes ({sizes})",
            "crop them alike",
            code="mask.other_shape",
            field="photos",
        )
    changed.setdefault(f"{what.capitalize()}s resized to their pictures", []).append(
        f"{printable(path)} and its picture have {sizes} pixels"
    )
    return found, hashlib.sha256(data).hexdigest()


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one is the other in another size, but for ASPECT or what rounding to whole pixels makes of the side."""
    if abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= ASPECT:
        return True
    (w, h), (wide, high) = sorted((one, other))
    return abs(high * w / wide - h) <= 1 or abs(wide * h / high - w) <= 1


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
            found.leave(candidate.path, "it was named twice")
        kept.setdefault(path, candidate)
    return list(kept.values())


def _relative(photos: list[Photo]) -> tuple[Photo, ...]:
    """Repeats divided by what they have in common: only their proportions matter, for the step count is set."""
    common = math.gcd(*(p.repeats for p in photos))
    return tuple(replace(p, repeats=p.repeats // common) for p in photos)
