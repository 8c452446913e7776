"""Who won, and for what, in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from booth.compare.summary import Column, Summary
from booth.core.json_values import Json
from booth.evaluate.rows import BASE
from booth.registry import METRICS

SAME = 1e-9  # means that differ by less are equal
# The base follows prompts as well as it ever did, without any subject, so that here it is no floor.
FOLLOWING = ("prompt_similarity", "token_dropped")

# What each prize is for: the columns that decide it, of which the first that was measured counts.
PRIZES: dict[str, tuple[tuple[str, str], ...]] = {
    "reproducing the subject in the scene asked for": (("joint", ""),),
    "likeness to the subject": (("identity", ""), ("subject_similarity", "")),
    "following the prompt": (("prompt_similarity", "token_dropped"),),
    "leaving the rest of the model alone": (("cmmd", "class"),),
    "training time": (("cost", "seconds"),),
    "the smallest file": (("cost", "bytes"),),
}


def winners(summary: Summary) -> dict[str, dict[str, Json]]:
    """By prize: the method with the best mean, its number, and who is equal to it or within noise of it.

    `managed` is whether it did better than the untouched base, or, of a share, better than never.
    """
    found: dict[str, dict[str, Any]] = {}
    for prize, columns in PRIZES.items():
        column = next((c for metric, part in columns if (c := summary.column(metric, part)) is not None), None)
        if column is not None and len(column.cells) > 1:
            found[prize] = _winner(column, summary.references.get(BASE, {}))
    return found


def verdict(summary: Summary) -> list[str]:
    """Sentences that name the winner for each prize, what no method managed, and what failed."""
    sentences = [_sentence(prize, won) for prize, won in winners(summary).items()]
    if not sentences:
        sentences.append("Fewer than two methods have a result, so there is no winner.")
    sentences += [f"{r['method']} with seed {r['seed']} failed: {r['error']}" for r in summary.failed()]
    seeds = {count for m in summary.methods if (count := len(summary.done(m)))}
    if min(seeds, default=2) < 2:
        sentences.append("Some methods ran with one training seed only, so that how much luck there was is not known.")
    return sentences


def _winner(column: Column, base: Mapping[str, Any]) -> dict[str, Any]:
    best = next(method for method, cell in column.cells.items() if cell.best)
    cell = column.cells[best]
    return {
        "method": best,
        "metric": column.name,
        "title": column.title,
        "value": round(cell.value, 4),
        "shown": column.shown(cell.value),
        "low": round(cell.low, 4),
        "high": round(cell.high, 4),
        "managed": _managed(column, cell.value, base.get(column.name)),
        "equal": [m for m, c in column.cells.items() if m != best and abs(c.value - cell.value) < SAME],
        "within_noise": [m for m, c in column.cells.items() if c.within_noise],
    }


def _managed(column: Column, value: float, base: Mapping[str, Any] | None) -> bool:
    """Whether the best of a column is anything; of what is better lower, such as costs, there is always a least."""
    if not column.higher:
        return True
    if METRICS[column.metric].range == (0.0, 1.0) and value == 0:
        return False
    if base is None or base["value"] is None or (column.metric, column.part) == FOLLOWING:
        return True
    return value > base["value"]


def _sentence(prize: str, won: dict[str, Any]) -> str:
    close, number = [m for m in won["within_noise"] if m not in won["equal"]], won["shown"]
    measured = f"{won['title']} {number}"
    if not won["managed"]:
        return f"For {prize}, no method managed more than the untouched base does (at best {measured})."
    if won["equal"]:
        noise = f"; {', '.join(close)} not beyond noise behind" if close else ""
        return f"For {prize}, {', '.join([won['method'], *won['equal']])} are equal ({measured}){noise}."
    if close:
        who = ", ".join([won["method"], *close])
        return f"For {prize}, {who} do not differ beyond noise; {won['method']} is ahead ({measured})."
    return f"For {prize}, {won['method']} wins ({measured})."
