"""A picture to start from: image to image, and inpainting where a mask says what is drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from PIL import Image

from booth.core.errors import BadDataError, UsageError
from booth.data.decoding import decode, decode_mask, read_bytes

STRENGTH = 0.8  # of image to image, as in diffusers; with a mask it is 1
PIXELS = 8  # each side of a picture is a multiple of this many pixels
GREY = (127, 127, 127)


@dataclass(frozen=True)
class Start:
    """What a picture is drawn over, and how much of it is drawn anew."""

    image: Image.Image  # RGB
    strength: float = STRENGTH  # in (0, 1]: the share of the denoising steps that are taken; 1 forgets the picture
    mask: Image.Image | None = None  # L, of the image's size; white is drawn anew, black stays

    @classmethod
    def blank(cls, side: int) -> Start:
        """Nothing to start from, for a denoiser that always wants to be told a picture and a mask."""
        return cls(Image.new("RGB", (side, side), GREY), 1.0, Image.new("L", (side, side), 255))

    def fitted(self, side: int, multiple: int = PIXELS) -> Start:
        """With a shorter side of `side` pixels, the other one in proportion and a multiple of 8 and of `multiple`."""
        return self.resized(self.fitted_size(side, multiple))

    def fitted_size(self, side: int, multiple: int = PIXELS) -> tuple[int, int]:
        """The width and height that `fitted` gives it."""
        scale, unit = side / min(self.image.size), math.lcm(PIXELS, multiple)
        width, height = (max(1, round(edge * scale / unit)) * unit for edge in self.image.size)
        return width, height

    def resized(self, size: tuple[int, int]) -> Start:
        """With another size; the mask is black and white afterwards."""
        image = self.image if self.image.size == size else self.image.resize(size, Image.Resampling.LANCZOS)
        return replace(self, image=image, mask=None if self.mask is None else _black_and_white(self.mask, size))

    def masked(self) -> Start:
        """With a mask, which is white everywhere if there was none."""
        return self if self.mask is not None else replace(self, mask=Image.new("L", self.image.size, 255))


def read_start(image: Path | None, strength: float | None, mask: Path | None) -> tuple[Start | None, list[str]]:
    """The picture and mask in two files, and a sentence on what was resized.

    Raises UsageError for options that make no sense together, BadDataError for a file that cannot be used.
    """
    if image is None:
        if mask is not None:
            raise UsageError(
                "`mask` says which part of a picture is drawn anew.",
                "Name the picture with `init`.",
                code="mask.without_start",
                field="init",
            )
        if strength is not None:
            raise UsageError(
                "`strength` says how much of the picture in `init` is drawn anew.",
                "A concept's own strength is written behind its folder: CONCEPT:0.8.",
                code="strength.without_start",
                field="init",
            )
        return None, []
    if strength is not None and not 0 < strength <= 1:
        raise UsageError(
            f"`strength={strength:g}` makes no sense: it is over 0, which keeps all, and at most 1.",
            code="strength.out_of_range",
            field="strength",
        )
    picture = _read(image, decode)
    if mask is None:
        return Start(picture, strength or STRENGTH), []
    area, how = _read(mask, decode_mask)
    notes = [f"The mask {mask} is read {how}."] if how else []
    if area.size != picture.size:
        notes += [f"The mask {mask} is resized from {_size(area)} to {_size(picture)}, the size of {image}."]
    area = _black_and_white(area, picture.size)
    if area.getextrema() == (0, 0):
        raise BadDataError(
            f"The mask {mask} is empty: it is black everywhere.",
            "Paint white what is to be drawn anew.",
            code="mask.empty",
            field="mask",
        )
    if area.getextrema() == (255, 255):
        raise BadDataError(
            f"The mask {mask} is full: it is white everywhere.",
            "Paint black what is to stay, or leave out `mask`.",
            code="mask.full",
            field="mask",
        )
    return Start(picture, strength or 1.0, area), notes


Read = TypeVar("Read")


def _read(path: Path, how: Callable[[bytes], Read]) -> Read:
    try:
        return how(read_bytes(path))
    except BadDataError as error:
        raise error.about(str(path), field="init") from error


def _black_and_white(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    resized = mask if mask.size == size else mask.resize(size, Image.Resampling.BOX)
    return resized.point(lambda value: 255 if value >= 128 else 0)  # type: ignore[operator]


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
