"""Scribbles by extended differences of Gaussians (XDoG: Winnemöller et al., 2012), as ControlNet 1.1 makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from booth.controls.filters import USUAL_SIDE, gaussian
from booth.core.control import Control


@dataclass(frozen=True)
class Scribble(Control):
    """Where a picture is darker than around it, as a pen would put it."""

    name = "scribble"
    title = "Scribble"
    shows = "white rough strokes on black"

    fine: float = 0.5  # pixels
    coarse: float = 5.0  # pixels in a picture of the usual side; smaller ones take less, else strokes fill them up
    threshold: float = 32  # of 255; half of it is how much darker a stroke is

    def __call__(self, picture: Image.Image) -> Image.Image:
        pixels = np.asarray(picture, np.float32)
        coarse = max(4 * self.fine, self.coarse * min(1, min(picture.size) / USUAL_SIDE))
        darker = (gaussian(pixels, coarse) - gaussian(pixels, self.fine)).min(axis=2)  # in every channel
        strokes = np.where(2 * darker > self.threshold, 255, 0).astype(np.uint8)
        return Image.fromarray(strokes).convert("RGB")
