"""Soft edges without a network: gradients over several scales, each normalised (Lindeberg, 1998)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from booth.controls.filters import USUAL_SIDE, Pixels, gaussian
from booth.core.control import Control


@dataclass(frozen=True)
class SoftEdges(Control):
    """Edges as bright as they are strong, in the manner of HED (1504.06375), which needs a download and this not.

    At a step of height h, sigma times the gradient of the picture blurred by sigma is h / sqrt(2 pi) whatever sigma is,
    so that a step from black to white is white at every scale.
    """

    name = "soft_edges"
    title = "Soft edge"
    shows = "grey and white soft edges on black"

    scales: tuple[float, ...] = (1.0, 2.0, 4.0)  # pixels in a picture of the usual side; smaller ones take less

    def __call__(self, picture: Image.Image) -> Image.Image:
        pixels = np.asarray(picture, np.float32) / 255  # (H, W, 3)
        finer = min(1.0, max(0.5, min(picture.size) / USUAL_SIDE))
        strength = np.mean([_at(pixels, finer * sigma) for sigma in self.scales], axis=0).max(axis=2)
        # The square root, because people see an edge of half the height as nearly as strong.
        grey = np.sqrt(np.clip(np.sqrt(2 * np.pi) * strength, 0, 1)) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def _at(pixels: Pixels, sigma: float) -> Pixels:
    down, right = np.gradient(gaussian(pixels, sigma), axis=(0, 1))
    return sigma * np.hypot(down, right)
