"""Prompt fidelity: CLIP-T, or the same by another encoder that reads."""

from __future__ import annotations

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Score, by_prompt


class PromptSimilarity(Metric[Encoder]):
    """Mean cosine of each picture and its prompt: with the rare token dropped, as in 2208.01618, and kept.

    The cosine itself, not CLIPScore, which is 2.5 times as much.
    """

    name = "prompt_similarity"
    title = "prompt fidelity"
    better = "higher"
    range = (-1.0, 1.0)
    needs = ("drawn",)
    role = "prompt"
    source = "2208.12242, 2208.01618"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        images = encoder.images([d.image for d in evidence.drawn])
        scores: list[Score] = []
        for part, prompts in (
            ("token_dropped", [d.plain for d in evidence.drawn]),
            ("token_kept", [d.prompt for d in evidence.drawn]),
        ):
            texts = list(dict.fromkeys(prompts))
            read = dict(zip(texts, encoder.read(texts), strict=True))
            cosine = [float(image @ read[prompt]) for image, prompt in zip(images, prompts, strict=True)]
            scores.append(self.score(by_prompt(cosine, evidence.drawn), encoder, part))
        return scores
