"""PRES: does "a dog" still mean any dog?"""

from __future__ import annotations

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Score


class Preservation(Metric[Encoder]):
    """Mean pairwise cosine of pictures of the class and photos of the subject: lower is better (2208.12242)."""

    name = "preservation"
    title = "PRES"
    better = "lower"
    range = (-1.0, 1.0)
    needs = ("class_drawn", "references")
    role = "subject"
    source = "2208.12242"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        cosine = encoder.images(evidence.class_drawn) @ encoder.images(evidence.references).T
        return [self.score(cosine.mean(1).tolist(), encoder)]
