"""How sharp drawings are beside the photos, by the Laplacian."""

from __future__ import annotations

import math

import numpy as np
from PIL.Image import Image

from booth.core.metric import Evidence, Metric, Score, by_prompt


class Sharpness(Metric[None]):
    """The variance of a drawing's Laplacian over the photos' mean: 1 is as sharp as they are."""

    name = "sharpness"
    title = "Sharpness"
    better = "higher"
    range = (0.0, math.inf)
    needs = ("drawn", "references")
    role = None  # it looks at pixels, without an encoder
    source = "Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, 2000"

    def measure(self, evidence: Evidence, encoder: None) -> list[Score]:
        photos = float(np.mean([variance(image) for image in evidence.references])) or 1.0
        values = [variance(drawn.image) / photos for drawn in evidence.drawn]
        return [self.score(by_prompt(values, evidence.drawn), None)]


def variance(image: Image) -> float:
    """The variance of the Laplacian of the grey picture, at 64 pixels a side so that sizes compare."""
    grey = np.asarray(image.convert("L").resize((64, 64)), dtype=np.float64) / 255
    inner = grey[1:-1, 1:-1]
    return float(np.var(grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner))
