"""Subject fidelity without backgrounds, which encoders otherwise reward."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from booth.core.metric import Evidence
from booth.evaluate.masks import subject_only
from booth.evaluate.metrics.subject_similarity import SubjectSimilarity


class MaskedSimilarity(SubjectSimilarity):
    """As subject similarity, with the background of drawings and photos painted grey (against 2604.01973's leak)."""

    name = "masked_similarity"
    title = "subject fidelity, background masked"
    not_of_styles = "a style fills the whole picture, backgrounds too"
    source = "2604.01973"

    def encoder_input(self, images: Sequence[Image], evidence: Evidence) -> Sequence[Image]:
        return [subject_only(image, evidence.subject_mask) for image in images]
