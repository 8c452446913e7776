"""Who won, and for what, in a few sentences."""

from __future__ import annotations

from typing import Any

from booth.compare.summary import Column, Summary

# What each prize is for: the columns that decide it, of which the first that was measured counts.
PRIZES: dict[str, tuple[tuple[str, str], ...]] = {
    "reproducing the subject in the scene asked for": (("joint", ""),),
    "likeness to the subject": (("identity", ""), ("subject_similarity", "")),
    "following the prompt": (("prompt_similarity", "token_dropped"),),
    "leaving the rest of the model alone": (("cmmd", "class"),),
    "training time": (("cost", "seconds"),),
    "the smallest file": (("cost", "bytes"),),
}


def winners(summary: Summary) -> dict[str, dict[str, Any]]:
    """By prize: the method with the best mean, its number, and who is within noise of it."""
    found: dict[str, dict[str, Any]] = {}
    for prize, columns in PRIZES.items():
        column = next((c for metric, part in columns if (c := summary.column(metric, part)) is not None), None)
        if column is not None and len(column.cells) > 1:
            found[prize] = _winner(column)
    return found


def verdict(summary: Summary) -> list[str]:
    """Sentences that name the winner for each prize, what no method managed, and what failed."""
    told = [_sentence(prize, won) for prize, won in winners(summary).items()]
    if not told:
        told.append("Fewer than two methods have a result, so there is no winner.")
    told += [f"{r['method']} with seed {r['seed']} failed: {r['error']}" for r in summary.failed()]
    seeds = {len(summary.done(m)) for m in summary.methods}
    if min(seeds, default=0) < 2:
        told.append("Some methods ran with one training seed only, so that how much luck there was is not known.")
    return told


def _winner(column: Column) -> dict[str, Any]:
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
        "within_noise": [m for m, c in column.cells.items() if c.within_noise],
    }


def _sentence(prize: str, won: dict[str, Any]) -> str:
    close, number = won["within_noise"], won["shown"]
    if close:
        who = ", ".join([won["method"], *close])
        return f"For {prize}, {who} do not differ beyond noise; {won['method']} is ahead ({won['title']} {number})."
    return f"For {prize}, {won['method']} wins ({won['title']} {number})."
