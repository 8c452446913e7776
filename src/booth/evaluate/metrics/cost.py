"""What the concept cost: time, memory and bytes."""

from __future__ import annotations

from typing import Any

from booth.core.metric import Evidence, Metric, Score


class Cost(Metric):
    """Seconds of the training run, most bytes of memory at once, and bytes of the artefact, as the run recorded."""

    name = "cost"
    title = "cost"
    better = "lower"
    range = (0.0, float("inf"))
    needs = ("cost",)
    role = None
    source = "the concept's record"

    def measure(self, evidence: Evidence, encoder: Any) -> list[Score]:
        return [Score(self.name, value, value, value, (), part) for part, value in evidence.cost.items()]
