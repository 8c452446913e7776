"""Drift as a Fréchet distance, only with enough pictures."""

from __future__ import annotations

import math

from booth.evaluate.distances import Array, frechet
from booth.evaluate.metrics.drift import Drift


class Frechet(Drift):
    """The Fréchet distance (1706.08500) of an encoder's vectors, refused below 2,000 pictures a side.

    It has no interval: a resample holds fewer different pictures, which alone raises it.
    """

    name = "frechet"
    title = "Fréchet distance from the base"
    source = "1706.08500"
    least = 2000

    def too_few(self, pictures: int) -> str:
        return (
            f"with {pictures} pictures a side its bias would exceed what it measures (2401.09603); it needs "
            f"{self.least:,}, CMMD and KID do not"
        )

    def distance(self, x: Array, y: Array) -> tuple[float, float, float]:
        return frechet(x, y), math.nan, math.nan
