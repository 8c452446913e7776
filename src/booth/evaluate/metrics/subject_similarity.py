"""Subject fidelity as DreamBooth measures it: CLIP-I, DINO, or by another encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL.Image import Image

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt


class SubjectSimilarity(Metric[Encoder]):
    """Average pairwise cosine of all drawn pictures and all reference photos (2208.12242, section 4.1).

    Where photos stand in for drawings, no photo is compared with itself: with five photos .774 without such pairs
    would be .819 with them.
    """

    name = "subject_similarity"
    title = "subject fidelity"
    better = "higher"
    range = (-1.0, 1.0)
    needs = ("drawn", "references")
    role = "subject"
    source = "2208.12242"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        drawn = self.encoder_input([d.image for d in evidence.drawn], evidence)
        cosine = (
            encoder.images(drawn) @ encoder.images(self.encoder_input(evidence.references, evidence)).T
        )  # (drawings, references)
        other = torch.ones_like(cosine)
        for row, picture in enumerate(evidence.drawn):
            if picture.reference is not None:
                other[row, picture.reference] = 0
        if not bool(other.sum(1).all()):
            raise Refused("a single photo cannot be compared with itself")
        means = ((cosine * other).sum(1) / other.sum(1)).tolist()
        return [self.score(by_prompt(means, evidence.drawn), encoder)]

    def encoder_input(self, images: Sequence[Image], evidence: Evidence) -> Sequence[Image]:
        """What the encoder is shown."""
        return images
