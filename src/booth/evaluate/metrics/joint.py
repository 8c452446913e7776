"""The headline: the right individual, where and how the prompt asked for it, all in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt
from booth.evaluate.metrics.accuracy import FACTORS
from booth.evaluate.prompt_factors import prompt_factors

if TYPE_CHECKING:
    from booth.evaluate.encoders.world import WorldJudges


class Joint(Metric["WorldJudges"]):
    """Share of drawings with identity, context and edit right together, over the prompts that ask for either."""

    name = "joint"
    title = "joint success"
    better = "higher"
    range = (0.0, 1.0)
    needs = ("drawn", "references")
    role = "judge"
    not_of_styles = "a style has no individual to recognise"
    source = "joint success of identity, context and edit, after ConceptBed (2306.04695)"

    def measure(self, evidence: Evidence, encoder: WorldJudges) -> list[Score]:
        noun = evidence.subject.noun
        wanted = [prompt_factors(d.plain, noun) for d in evidence.drawn]
        rows = [i for i, w in enumerate(wanted) if w.scene is not None or w.is_edit]
        if not rows:
            raise Refused("no prompt asks for a scene, colour or accessory that the judges know")
        drawn = [evidence.drawn[i] for i in rows]
        same = encoder.same([d.image for d in drawn], evidence.references)
        verdicts = encoder.verdicts([d.image for d in drawn])
        right = [
            here and all(getattr(wanted[i], f) in (None, getattr(verdict, f)) for f in FACTORS)
            for i, here, verdict in zip(rows, same, verdicts, strict=True)
        ]
        return [self.score(by_prompt(right, drawn), encoder)]
