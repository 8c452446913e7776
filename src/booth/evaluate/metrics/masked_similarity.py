"""Subject fidelity without backgrounds, which encoders otherwise reward."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from booth.evaluate.masks import subject_only
from booth.evaluate.metrics.subject_similarity import SubjectSimilarity


class MaskedSimilarity(SubjectSimilarity):
    """As subject similarity, with the background of drawings and photos painted grey (against 2604.01973's leak)."""

    name = "masked_similarity"
    title = "subject fidelity, background masked"
    source = "2604.01973"

    def seen(self, images: Sequence[Image]) -> Sequence[Image]:
        return [subject_only(image) for image in images]
