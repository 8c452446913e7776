"""report.html of a fleet: how well all subjects were learned, the worst of them, what it cost and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from booth.core.statistics import interval
from booth.core.words import duration, size
from booth.evaluate.report.html import Markup, element, page, side_by_side, table
from booth.evaluate.report.plots import histogram
from booth.fleet.place import Place
from booth.fleet.runs import Status

REPORT = "report.html"
WORST = 20
# Of a run's numbers: what it is called, and which way is better.
NUMBERS = {
    "fidelity": ("Subject fidelity", "higher"),
    "identity": ("Same individual", "higher"),
    "drift": ("Drift of the class", "lower"),
    "copying": ("Copies of photos", "lower"),
    "prompt": ("Prompt fidelity", "higher"),
}


def write_report(
    place: Place,
    done: Sequence[Mapping[str, object]],
    tries: Mapping[str, Status],
    others: Sequence[tuple[str, Status]],
) -> None:
    """The page, from commit markers, how often their runs were tried, and what became of the others."""
    place.write(REPORT, report_page(done, tries, others).encode())


def report_page(
    done: Sequence[Mapping[str, object]], tries: Mapping[str, Status], others: Sequence[tuple[str, Status]]
) -> str:
    """The whole document."""
    failed = [(name, status) for name, status in others if status.state == "failed"]
    told = f"{len(done)} runs are done, {len(failed)} failed, {len(others) - len(failed)} are not done yet."
    parts: list[object] = [element("p", told)]
    measured = [run for run in done if run["metrics"]]
    if measured:
        parts += [element("h2", "Over all subjects"), *_distributions(measured)]
        parts += [element("h2", "The worst"), _worst(measured)]
    if done:
        parts += [element("h2", "Cost"), _cost(done, tries)]
    if failed:
        parts += [element("h2", "Failed"), _failed(failed)]
    return page("A fleet", *parts)


def _distributions(runs: Sequence[Mapping[str, Any]]) -> list[Markup]:
    rows: list[list[object]] = []
    plots: list[Markup] = []
    for name, (title, better) in NUMBERS.items():
        values = sorted(run["metrics"][name] for run in runs if name in run["metrics"])
        if not values:
            continue
        low, high = interval(values)
        mean = math.fsum(values) / len(values)
        middle = values[len(values) // 2]
        told = [f"{v:.3f}" for v in (mean, low, high, middle, values[0], values[-1])]
        rows.append([f"{title} ({better} is better)", len(values), *told])
        plots.append(histogram(title, values))
    header = ["", "runs", "mean", "95 % from", "to", "median", "least", "most"]
    return [table("Each number over the runs that have it.", header, rows), side_by_side(plots)]


def _worst(runs: Sequence[Mapping[str, Any]]) -> Markup:
    """By how well the subject was learned, those of least fidelity first."""
    ranked = sorted(runs, key=lambda run: run["metrics"].get("fidelity", math.inf))[:WORST]
    rows = [
        [f"{run['subject']}/{run['id']}", run["method"], *(_shown(run["metrics"].get(name)) for name in NUMBERS)]
        for run in ranked
    ]
    titles = [title for title, _ in NUMBERS.values()]
    return table("The runs of least subject fidelity.", ["run", "method", *titles], rows)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _cost(done: Sequence[Mapping[str, Any]], tries: Mapping[str, Status]) -> Markup:
    seconds = sorted(float(run["worker_seconds"]) for run in done)
    training = math.fsum(float(run["timings"].get("train", 0)) for run in done)
    again = list(tries.values())
    rows: list[list[object]] = [
        ["workers' time in all", duration(math.fsum(seconds))],
        ["of it, in steps of training", duration(training)],
        ["a run, median", duration(seconds[len(seconds) // 2])],
        ["a run, longest", duration(seconds[-1])],
        ["weights in all", size(math.fsum(run["bytes"] for run in done))],
        ["stopped, or lost with a worker", sum(s.preemptions for s in again)],
        ["failed and tried again", sum(s.failures for s in again)],
    ]
    return table("Of the runs that are done, the last worker's time of each.", ["", ""], rows)


def _failed(failed: Sequence[tuple[str, Status]]) -> Markup:
    rows = [[name, s.code, s.failures, s.preemptions, s.reason, " / ".join(s.lines[-3:])] for name, s in failed]
    header = ["run", "code", "failures", "stopped or lost", "reason", "last lines"]
    return table("What was given up, and why.", header, rows, words=True)
