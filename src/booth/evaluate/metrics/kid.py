"""Drift as KID."""

from __future__ import annotations

from booth.evaluate.distances import Array, cubic_kernel, mmd
from booth.evaluate.metrics.drift import Drift


class Kid(Drift):
    """Squared MMD with KID's cubic kernel (1801.01401), unbiased; published numbers are of Inception v3.

    As in `mmd`, a drawing is not compared with the base's at its own prompt and seed. Vectors are of length sqrt(D),
    which is about what Inception's are, so that the kernel is (cosine + 1)^3.
    """

    name = "kid"
    title = "KID from the base"
    source = "1801.01401"

    def distance(self, x: Array, y: Array) -> tuple[float, float, float]:
        scale = x.shape[1] ** 0.5
        return mmd(x * scale, y * scale, cubic_kernel)
