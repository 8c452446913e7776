"""Masks that lie beside photos, made by whatever can tell where a noun is in a picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from booth.core.commit import committed_file
from booth.core.errors import BadDataError
from booth.core.places import NAME_BYTES, printable
from booth.data.beside import mask_of
from booth.data.decoding import decode, read_bytes
from booth.data.photos import Photo

Finder = Callable[[Image.Image, str], NDArray[np.bool_]]  # (H, W), true where the noun is


@dataclass(frozen=True)
class Made:
    """What became of one photo's mask."""

    photo: Path
    mask: Path | None  # none = the photo has none, because the noun was not seen
    written: bool
    share: float | None = None  # of the photo that is white, where it was written


def require_names(photos: Sequence[Photo]) -> None:
    """Raise BadDataError, before anything is looked for, for photos whose names leave no room for a mask's."""
    long = [p.path for p in photos if len(os.fsencode(mask_of(p.path).name)) > NAME_BYTES]
    if long:
        raise BadDataError(
            f"{len(long)} photos have too long a name for a mask beside them, such as {printable(long[0])}: "
            f"{mask_of(Path('NAME')).name} has to fit into {NAME_BYTES} bytes.",
            "Rename them.",
            code="mask.name_too_long",
            field="photos",
        )


def make_masks(photos: Sequence[Photo], noun: str, find: Finder, *, overwrite: bool = False) -> Iterator[Made]:
    """Write NAME-masklabel.png, white where the noun is, beside each photo that has no mask yet, in its full size.

    A photo whose alpha channel is a mask has one. No file is written where the noun is not seen.
    """
    for photo in photos:
        file = mask_of(photo.path)
        has_one = file.exists() or photo.mask is not None
        if has_one and not overwrite:
            yield Made(photo.path, file if file.exists() else photo.path, written=False)
            continue
        found = find(photo.image, noun)
        if not found.any():
            yield Made(photo.path, None, written=False)
            continue
        size = decode(read_bytes(photo.path)).size  # `photo.image` may be smaller
        mask = Image.fromarray(found.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        with committed_file(file) as work:
            Image.fromarray((np.asarray(mask) > 127).astype(np.uint8) * 255).save(work)
        yield Made(photo.path, file, written=True, share=float(found.mean()))
