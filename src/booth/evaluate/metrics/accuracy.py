"""Is in the picture what the prompt asked for? Scene, colour and accessory, each by the world's judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt
from booth.evaluate.prompt_factors import prompt_factors

if TYPE_CHECKING:
    from booth.evaluate.encoders.world import WorldJudges

FACTORS = ("scene", "colour", "accessory")


class Accuracy(Metric["WorldJudges"]):
    """Share of drawings with the scene, colour or accessory asked for, over the prompts that ask for one.

    `object` is the share that shows the class noun, whatever else is asked; there is none for a noun that the judge
    does not know.
    """

    name = "accuracy"
    title = "what was asked for"
    better = "higher"
    range = (0.0, 1.0)
    needs = ("drawn",)
    role = "judge"
    source = "GenEval's way of asking a detector (2310.11513)"

    def measure(self, evidence: Evidence, encoder: WorldJudges) -> list[Score]:
        noun = evidence.subject.noun
        verdicts = encoder.verdicts([d.image for d in evidence.drawn])
        scores: list[Score] = []
        if (known := noun.casefold()) in encoder.nouns:
            shown = [known in v.objects for v in verdicts]
            scores.append(self.score(by_prompt(shown, evidence.drawn), encoder, "object"))
        for factor in FACTORS:
            rows = [
                (drawn, getattr(verdict, factor) == wanted)
                for drawn, verdict in zip(evidence.drawn, verdicts, strict=True)
                if (wanted := getattr(prompt_factors(drawn.plain, noun), factor)) is not None
            ]
            if rows:
                units = by_prompt([float(right) for _, right in rows], [drawn for drawn, _ in rows])
                scores.append(self.score(units, encoder, factor))
        if not scores:
            raise Refused(f"the judge knows no {noun}, and no prompt asks for a scene, colour or accessory it knows")
        return scores
