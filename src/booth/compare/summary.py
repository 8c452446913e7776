"""From a race's files to its table: means with intervals, the best of each column, what is within noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.compare.course import PLAN, REFERENCES
from booth.compare.race import RUN
from booth.core.errors import BadDataError
from booth.core.json_values import Json
from booth.core.statistics import crossed
from booth.evaluate.measure import label_of
from booth.registry import ENCODERS, METRICS

# What a race is judged by, most important first; a part of a metric is its second word.
COLUMNS = (
    ("joint", ""),
    ("identity", ""),
    ("subject_similarity", ""),
    ("masked_similarity", ""),
    ("lookalikes", ""),
    ("prompt_similarity", "token_dropped"),
    ("accuracy", "scene"),
    ("preservation", ""),
    ("diversity", "class"),
    ("cmmd", "class"),
    ("cmmd", "unrelated"),
    ("copying", "share"),
    ("scene_leak", ""),
    ("background", ""),
    ("cost", "seconds"),
    ("cost", "peak_memory_bytes"),
    ("cost", "bytes"),
)


@dataclass(frozen=True)
class Cell:
    """One method's number in one column."""

    value: float
    low: float
    high: float
    best: bool = False
    within_noise: bool = False  # of the best


@dataclass(frozen=True)
class Column:
    """One number of every method that has it, named with its encoder."""

    name: str
    metric: str
    part: str
    encoder: str
    higher: bool
    cells: Mapping[str, Cell]  # by method

    @property
    def title(self) -> str:
        """What the field calls it, with the encoder."""
        return f"{self.label} ({self.encoder})" if self.encoder else self.label

    @property
    def label(self) -> str:
        """What the field calls it."""
        titles = ENCODERS[self.encoder].titles if self.encoder in ENCODERS else {}
        return label_of(self.metric, self.part, titles)

    def shown(self, value: float) -> str:
        """One of its numbers, for people."""
        return METRICS[self.metric].shown(value, self.part)


@dataclass(frozen=True)
class Summary:
    """Everything that the page of a race shows."""

    folder: Path
    plan: dict[str, Any]
    runs: list[dict[str, Any]]
    references: dict[str, dict[str, Any]]  # by row, by name
    columns: list[Column]

    @property
    def methods(self) -> list[str]:
        """Every method that was tried, in the order of its first run."""
        return list(dict.fromkeys(r["method"] for r in self.runs))

    def done(self, method: str) -> list[dict[str, Any]]:
        """The method's finished runs."""
        return [r for r in self.runs if r["method"] == method and r["status"] == "done"]

    def failed(self) -> list[dict[str, Json]]:
        """Runs that failed, each with its error."""
        return [r for r in self.runs if r["status"] == "failed"]

    def column(self, metric: str, part: str = "") -> Column | None:
        """The first of a metric, which is by the most trusted encoder."""
        return next((c for c in self.columns if (c.metric, c.part) == (metric, part)), None)


def summarise(folder: Path) -> Summary:
    """Read a race; BadDataError where there is none."""
    if not (folder / PLAN).is_file():
        raise BadDataError(
            f"{folder} holds no race: it has no {PLAN}.",
            "Name the folder that `booth compare` wrote.",
            code="race.none_here",
            field="race",
        )
    files = sorted(folder.glob(f"runs/*/{RUN}"), key=lambda f: f.stat().st_mtime_ns)
    runs = [json.loads(file.read_text()) for file in files]
    done = [r for r in runs if r["status"] == "done"]
    methods = {m: [r["metrics"] for r in done if r["method"] == m] for m in dict.fromkeys(r["method"] for r in done)}
    names = dict.fromkeys(name for run in done for name in run["metrics"])
    columns = [
        _column(
            name,
            first,
            {m: [s[name] for s in scores] for m, scores in methods.items() if all(name in s for s in scores)},
        )
        for metric, part in COLUMNS
        for name in names
        for first in [next(run["metrics"][name] for run in done if name in run["metrics"])]
        if (first["metric"], first["part"]) == (metric, part)
    ]
    references = json.loads((folder / REFERENCES).read_text()) if (folder / REFERENCES).is_file() else {}
    plan = json.loads((folder / PLAN).read_text())["plan"]
    return Summary(folder, plan, runs, references, [c for c in columns if c.cells])


def _column(name: str, first: Mapping[str, Any], scores: Mapping[str, Sequence[Mapping[str, Any]]]) -> Column:
    """Means over training seeds, the best, and which others differ from it by no more than noise."""
    higher = METRICS[first["metric"]].better == "higher"
    plain = {method: _mean(runs) for method, runs in scores.items()}
    if not plain:
        return Column(name, first["metric"], first["part"], first["encoder"], higher, {})
    best = (max if higher else min)(plain, key=lambda m: plain[m].value)
    cells = {
        method: Cell(c.value, c.low, c.high, method == best, method != best and _noise(scores[method], scores[best]))
        for method, c in plain.items()
    }
    return Column(name, first["metric"], first["part"], first["encoder"], higher, cells)


def _mean(runs: Sequence[Mapping[str, Any]]) -> Cell:
    if all(run["units"] for run in runs):
        found = crossed([run["units"] for run in runs])
        return Cell(found.mean, found.low, found.high)
    values = [run["value"] for run in runs]
    lows, highs = ([run[end] if run[end] is not None else run["value"] for run in runs] for end in ("low", "high"))
    return Cell(math.fsum(values) / len(values), min(lows), max(highs))


def _noise(runs: Sequence[Mapping[str, Any]], best: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the difference's interval holds zero; without units, whether the two ranges touch."""
    if all(run["units"] for run in (*runs, *best)):
        return crossed([r["units"] for r in runs], [r["units"] for r in best]).is_noise
    first, second = _mean(runs), _mean(best)
    return first.low <= second.high and second.low <= first.high
