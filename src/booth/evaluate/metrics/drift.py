"""How far the model moved from the untouched base, on the class and on prompts that have nothing to do with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from PIL.Image import Image

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score
from booth.evaluate.distances import Array


class Drift(Metric[Encoder]):
    """A distance between what the model draws and what the base drew at the same prompts and seeds."""

    better = "lower"
    range = (-float("inf"), float("inf"))  # an unbiased estimate may be below zero
    needs = ("class_drawn", "class_base")
    role = "distribution"
    least = 2  # pictures a side

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        scores: list[Score] = []
        for part, drawn, base in _pools(evidence):
            if min(len(drawn), len(base)) < self.least:
                raise Refused(self.too_few(min(len(drawn), len(base))))
            x, y = (encoder.images(images).double().numpy() for images in (drawn, base))
            value, low, high = self.distance(np.asarray(x), np.asarray(y))
            scores.append(Score(self.name, value, low, high, (), part, encoder.name, {"pictures": len(drawn)}))
        return scores

    def too_few(self, pictures: int) -> str:
        """Why there is no number."""
        return f"{pictures} pictures a side are too few; {self.least} are needed"

    @abstractmethod
    def distance(self, x: Array, y: Array) -> tuple[float, float, float]:
        """Value, low and high from unit vectors (N, D)."""


def _pools(evidence: Evidence) -> Iterator[tuple[str, Sequence[Image], Sequence[Image]]]:
    yield "class", evidence.class_drawn, evidence.class_base
    if evidence.unrelated_drawn and evidence.unrelated_base:
        yield "unrelated", evidence.unrelated_drawn, evidence.unrelated_base
