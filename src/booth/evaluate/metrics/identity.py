"""Is it the same individual? The identity verifier's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from booth.core.metric import Evidence, Metric, Score, by_prompt

if TYPE_CHECKING:
    from booth.evaluate.encoders.world import WorldJudges


class Identity(Metric["WorldJudges"]):
    """Share of drawings that the world's identity judge takes for the references' individual."""

    name = "identity"
    title = "same individual"
    better = "higher"
    range = (0.0, 1.0)
    needs = ("drawn", "references")
    role = "judge"
    not_of_styles = "a style has no individual to recognise"
    source = "the judge's own error is under `encoders`"

    def measure(self, evidence: Evidence, encoder: WorldJudges) -> list[Score]:
        same = encoder.same([d.image for d in evidence.drawn], evidence.references)
        return [self.score(by_prompt(same, evidence.drawn), encoder)]
