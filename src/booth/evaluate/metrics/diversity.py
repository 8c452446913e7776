"""DIV: how different are pictures of one prompt, and pictures of the class?"""

from __future__ import annotations

from itertools import combinations

from torch import Tensor

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score


class Diversity(Metric[Encoder]):
    """Mean distance 1 - cosine between pictures of the subject at one prompt, and between pictures of the class.

    DreamBooth (2208.12242) takes LPIPS for the distance, as the metric `lpips` does. These numbers are named after
    their encoder and must not be set beside published ones.
    """

    name = "diversity"
    title = "DIV"
    better = "higher"
    range = (0.0, 2.0)
    needs = ("drawn",)
    role = "distribution"
    source = "2208.12242, with another distance"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        if any(picture.reference is not None for picture in evidence.drawn):
            raise Refused("photos are no drawings of one prompt")
        by_text: dict[str, list[int]] = {}
        for i, picture in enumerate(evidence.drawn):
            by_text.setdefault(picture.prompt, []).append(i)
        vectors = encoder.images([d.image for d in evidence.drawn])
        units = [_spread(vectors[rows]) for rows in by_text.values() if len(rows) > 1]
        scores = [self.score(units, encoder, "prompt")] if units else []
        if len(evidence.class_drawn) > 1:
            pictures = encoder.images(evidence.class_drawn)
            apart = [float((1 - pictures @ p).sum() / (len(pictures) - 1)) for p in pictures]  # itself counts 0
            scores.append(self.score(apart, encoder, "class"))
        if not scores:
            raise Refused("there is one picture a prompt; draw at two seeds or more")
        return scores


def _spread(vectors: Tensor) -> float:
    pairs = [float(1 - a @ b) for a, b in combinations(vectors, 2)]
    return sum(pairs) / len(pairs)
