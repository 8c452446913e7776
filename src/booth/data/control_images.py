"""Where the control images of a set of pictures come from: they lie beside the pictures, or a control makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from booth.core.errors import BadDataError, UsageError
from booth.core.places import require_writable
from booth.data.crops import square
from booth.data.decoding import decode, read_bytes
from booth.data.photos import Photo
from booth.registry import CONTROLS


def make_control_images(pictures: Sequence[Path], control: str, out: Path, side: int | None = None) -> list[Path]:
    """Write the hint of each picture, or of its central square at `side` pixels, as a PNG of its name into `out`.

    Raises BadDataError, before anything is written, for a file that is no picture or two of the same name.
    """
    require_writable(out)
    make = CONTROLS[control]()
    made: dict[Path, Image.Image] = {}
    for file in pictures:
        try:
            image = decode(read_bytes(file))
        except BadDataError as error:
            raise error.about(str(file), field="pictures") from error
        target = out / f"{file.stem}.png"
        if target in made:
            raise BadDataError(
                f"Two pictures are called {file.stem}.",
                "Rename one, or make their hints one by one.",
                code="hints.same_name",
                field="pictures",
            )
        if os.path.lexists(target):
            raise UsageError(
                f"{target} is there already.", "Name another folder, or delete it first.", code="out.taken", field="out"
            )
        made[target] = make(image if side is None else square(image, side, "center"))
    out.mkdir(parents=True, exist_ok=True)
    for target, control_image in made.items():
        control_image.save(target)
    return list(made)


def maker_of(control: str) -> Callable[[Image.Image], Image.Image]:
    """What makes the hints of a control from pictures; UsageError for one that booth cannot make."""
    if control not in list(CONTROLS):
        raise UsageError(
            f"No picture has a hint beside it, and {control!r} is no control that makes one.",
            f"Choose of {', '.join(CONTROLS)} as `control`, or lay hints beside the pictures.",
            code="control.unknown",
            field="settings.control",
        )
    return CONTROLS[control]()


def tensor_of(control_images: Sequence[Image.Image]) -> Tensor:
    """Hints of one size as (N, 3, H, W) uint8."""
    return torch.stack([torch.from_numpy(np.array(h.convert("RGB"))).permute(2, 0, 1) for h in control_images])


class ControlImages:
    """The control images of one control for all pictures of a run; `tell` hears where they come from.

    Raises BadDataError if some pictures have a hint and some have none, UsageError if none has one and the control is
    none that booth can make.
    """

    def __init__(self, control: str, photos: Sequence[Photo], tell: Callable[[str], None]) -> None:
        without = [p for p in photos if p.control_image is None]
        if 0 < len(without) < len(photos):
            raise BadDataError(
                f"{len(without)} of {len(photos)} pictures have no hint beside them, such as {without[0].path}.",
                "Lay one beside each, or none.",
                code="hints.some_missing",
                field="photos",
            )
        self.control = control
        self._make = maker_of(control) if without else None
        tell(f"Hints: {control}, {'made from the pictures' if without else 'as they lie beside the pictures'}.")

    def of_views(self, views: Sequence[Image.Image], given: Sequence[Image.Image]) -> Tensor:
        """The hints (V, 3, H, W) uint8 of a photo's views; `given` are those views of its own hint, if it has one."""
        return tensor_of(given if self._make is None else [self._make(view) for view in views])

    def of(self, photo: Photo, side: int) -> Image.Image:
        """The control image of a photo's central square at `side` pixels."""
        if self._make is None:
            assert photo.control_image is not None
            return square(photo.control_image, side, "center")
        return self._make(square(photo.image, side, "center"))
