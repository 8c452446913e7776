"""Drift as CMMD."""

from __future__ import annotations

from booth.evaluate.distances import Array, gaussian_kernel, mmd
from booth.evaluate.metrics.drift import Drift


class Cmmd(Drift):
    """Squared MMD with a Gaussian kernel (2401.09603), unbiased; published numbers are of CLIP ViT-L/14 at 336.

    As in `mmd`, a drawing is not compared with the base's at its own prompt and seed.
    """

    name = "cmmd"
    title = "CMMD from the base"
    source = "2401.09603"

    def distance(self, x: Array, y: Array) -> tuple[float, float, float]:
        return mmd(x, y, gaussian_kernel)
