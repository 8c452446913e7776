"""Several subjects together: the macro mean, with the bootstrap over subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.core.statistics import difference, interval


def pooled(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    """From the JSON of evaluations: each number's mean over subjects, and over the base's at the same.

    Every subject counts the same, however many photos or prompts it has. A number that not all of them have is left
    out. Raises UsageError where they were not measured alike.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        if _how(other) != _how(first):
            raise UsageError(
                f"{other['concept']} was not evaluated as {first['concept']} was (seeds, steps, guidance, encoders or "
                "masks differ), so their numbers have no common mean.",
                "Evaluate them with one command.",
                code="evaluation.unlike",
                field="concepts",
            )
    names = [n for n in first["metrics"] if all(n in e["metrics"] for e in evaluations)]
    return {name: _mean(name, evaluations) for name in names}


def _mean(name: str, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [e["metrics"][name]["value"] for e in evaluations]
    low, high = interval(values)
    summary: dict[str, Any] = {
        "value": math.fsum(values) / len(values),
        "low": low,
        "high": high,
        "subjects": len(values),
    }
    if all(name in e["base"] for e in evaluations):
        gain = difference(values, [e["base"][name]["value"] for e in evaluations])
        summary["over_base"] = {"value": gain.mean, "low": gain.low, "high": gain.high}
    return summary


def _how(evaluation: Mapping[str, Any]) -> Any:
    protocol = {k: v for k, v in evaluation["protocol"].items() if k not in {"templates", "suite"}}
    return protocol, evaluation["masks"]["by"], {n: encoder["weights"] for n, encoder in evaluation["encoders"].items()}
