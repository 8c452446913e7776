"""What the concept cost: time, memory and bytes."""

from __future__ import annotations

from typing import ClassVar

from booth.core.metric import Evidence, Metric, Score
from booth.core.words import duration, size


class Cost(Metric[None]):
    """Seconds of the training run, most bytes of memory at once, and bytes of the artefact, as the run recorded."""

    name = "cost"
    title = "cost"
    better = "lower"
    range = (0.0, float("inf"))
    needs = ("cost",)
    role = None
    source = "the concept's record"
    parts: ClassVar[dict[str, str]] = {
        "seconds": "training time",
        "peak_memory_bytes": "most memory at once",
        "bytes": "size of the file",
    }

    @classmethod
    def shown(cls, value: float, part: str) -> str:
        return duration(value) if part == "seconds" else size(value)

    def measure(self, evidence: Evidence, encoder: None) -> list[Score]:
        return [Score(self.name, value, value, value, (), part) for part, value in evidence.cost.items()]
