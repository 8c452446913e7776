"""Canny edges (Canny, 1986), through OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from booth.controls.opencv import opencv
from booth.core.control import Control


@dataclass(frozen=True)
class Canny(Control):
    """Edges one pixel wide; the thresholds are those of ControlNet's own demonstration."""

    name = "canny"
    title = "Canny"
    shows = "white edges, one pixel wide, on black"

    low: float = 100
    high: float = 200

    def __call__(self, picture: Image.Image) -> Image.Image:
        edges = opencv(self.title).Canny(np.asarray(picture), self.low, self.high)
        return Image.fromarray(edges).convert("RGB")
