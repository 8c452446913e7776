"""Every metric of the registry on rows of evidence, through every encoder that has the role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score
from booth.evaluate.encoders import likeness_role, with_role
from booth.events import current_reporter
from booth.registry import METRICS


@dataclass
class Measured:
    """The scores of one row by name, and why others are missing."""

    scores: dict[str, Score] = field(default_factory=dict[str, Score])
    refused: dict[str, str] = field(default_factory=dict[str, str])

    def first(self, metric: str, part: str = "") -> Score | None:
        """The score by the most trusted encoder: the first in the registry."""
        return next((s for s in self.scores.values() if (s.metric, s.part) == (metric, part)), None)


def label_of(metric: str, part: str, titles: Mapping[str, str]) -> str:
    """What the field calls a number by an encoder with these titles: CLIP-I, DINO, ...; else the metric's own title."""
    kind: type[Metric[Any]] = METRICS[metric]
    known = titles.get(metric)
    return f"{known}, {part.replace('_', ' ')}" if known and part else known or kind.titled(part)


def measure(evidence: Evidence, encoders: Sequence[Encoder], metrics: Sequence[str] = ()) -> Measured:
    """Score one row; a metric that lacks evidence or an encoder is refused with the reason."""
    measured, reporter = Measured(), current_reporter()
    for called in metrics or METRICS.usable():
        metric: Metric[Any] = METRICS[called]()
        name = metric.name
        missing = [need for need in metric.needs if not getattr(evidence, need)]
        role = likeness_role(evidence.subject) if metric.role == "subject" else metric.role
        able = with_role(encoders, role) if role else [None]
        unsuited = metric.not_of_styles if evidence.subject.kind == "style" else ""
        if unsuited:
            measured.refused[name] = unsuited
        elif missing:
            measured.refused[name] = f"there are no {' and no '.join(m.replace('_', ' ') for m in missing)}"
        elif not able:
            measured.refused[name] = f"no encoder here serves as {role}"
        reporter.progress(reporter.done + 1)
        for encoder in [] if missing or unsuited else able:
            try:
                scores = metric.measure(evidence, encoder)
            except Refused as reason:
                measured.refused["/".join([name, *([encoder.name] if encoder else [])])] = str(reason)
                continue
            measured.scores.update((score.name, score) for score in scores)
    return measured


def measure_rows(
    rows: Mapping[str, Evidence], encoders: Sequence[Encoder], metrics: Sequence[str] = ()
) -> dict[str, Measured]:
    """Score several rows with the same encoders, whose vectors of shared pictures are reckoned once."""
    return {row: measure(evidence, encoders, metrics) for row, evidence in rows.items()}
