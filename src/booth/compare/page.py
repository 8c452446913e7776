"""The page of a race, made from its files alone, so that it can be made again without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from booth.compare.budget import Budget
from booth.compare.summary import Cell, Column, Summary, summarise
from booth.compare.verdict import verdict, winners
from booth.evaluate.report.files import write_whole
from booth.evaluate.report.html import Markup, element, grid, page, picture, side_by_side, table, two_lines
from booth.evaluate.report.plots import Point, pareto, scatter
from booth.evaluate.rows import TITLES

JSON, PAGE = "comparison.json", "report.html"
SHOWN = 8  # pictures of each run
COSTS = ("seconds", "bytes")
QUALITY = (("joint", ""), ("identity", ""), ("subject_similarity", ""))


def write_page(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write report.html and comparison.json beside the runs; return the page and what the JSON holds."""
    summary = summarise(folder)
    values = to_json(summary)
    write_whole(folder / JSON, json.dumps(values, indent=1) + "\n")
    write_whole(folder / PAGE, render(summary))
    return folder / PAGE, values


def to_json(summary: Summary) -> dict[str, Any]:
    """Plain values: `verdict`, `winners`, `methods` by name with their columns, `failed`."""
    methods: dict[str, Any] = {}
    for method in summary.methods:
        cells = {c.name: c.cells[method] for c in summary.columns if method in c.cells}
        methods[method] = {
            "runs": len(summary.done(method)),
            "columns": {
                name: {"value": c.value, "low": c.low, "high": c.high, "best": c.best, "within_noise": c.within_noise}
                for name, c in cells.items()
            },
        }
    return {
        "kind": "comparison",
        "plan": summary.plan,
        "methods": methods,
        "failed": summary.failed(),
        "winners": winners(summary),
        "verdict": verdict(summary),
    }


def render(summary: Summary) -> str:
    """The whole page."""
    plan = summary.plan
    protocol = plan["protocol"]
    introduction = (
        f"{len(plan['photos'])} photos of {plan['token']} {plan['noun']}; {len(protocol['templates'])} prompts "
        f"({protocol['suite']}) x {len(protocol['seeds'])} seeds, compared with {_references(plan)}; budget: "
        f"{Budget(**plan['budget']).in_words}. Intervals "
        "are 95 % bootstrap over prompts and training seeds; ≈ marks what differs from the best of its column by no "
        "more than noise."
    )
    return page(
        f"The race to teach {plan['token']} {plan['noun']}",
        element("p", introduction, class_="soft"),
        *(element("p", sentence, class_="verdict") for sentence in verdict(summary)),
        element("h2", "Numbers"),
        _numbers(summary),
        element("h2", "Quality against cost"),
        *_plots(summary),
        element("h2", "Pictures"),
        *_pictures(summary),
        element("h2", "Settings"),
        *_settings(summary),
    )


def _references(plan: dict[str, Any]) -> str:
    return "photos that were held out" if plan.get("held_out") else "the photos learned from, which rewards copying"


def _numbers(summary: Summary) -> Markup:
    header = ["", *(two_lines(f"{c.label}\u00a0{'↑' if c.higher else '↓'}", c.encoder) for c in summary.columns)]
    rows: list[list[object]] = []
    for method in summary.methods:
        count = len(summary.done(method))
        name = two_lines(method, f"{count} run{'' if count == 1 else 's'}")
        if count == 0:
            rows.append([f"{method}: failed", *("" for _ in summary.columns)])
            continue
        rows.append([name, *(_cell(c, c.cells.get(method)) for c in summary.columns)])
    for row, scores in summary.references.items():
        rows.append([TITLES[row], *(_plain(c, scores.get(c.name)) for c in summary.columns)])
    return table("Each column is of one encoder; columns are not to be compared.", header, rows)


def _cell(column: Column, cell: Cell | None) -> Markup | str:
    if cell is None:
        return ""
    shown = f"{column.shown(cell.value)}{chr(0xA0)}≈" if cell.within_noise else column.shown(cell.value)
    interval = "" if column.metric == "cost" else f"[{cell.low:.3f}, {cell.high:.3f}]"
    return element("td", two_lines(shown, interval), class_="best" if cell.best else "")


def _plain(column: Column, score: dict[str, Any] | None) -> str:
    return "" if score is None or score["value"] is None else column.shown(score["value"])


def _plots(summary: Summary) -> list[Markup]:
    quality = next((c for metric, part in QUALITY if (c := summary.column(metric, part)) is not None), None)
    plots: list[Markup] = []
    for part in COSTS:
        cost = summary.column("cost", part)
        if quality is None or cost is None:
            continue
        points = [Point(m, cost.cells[m].value, cell.value) for m, cell in quality.cells.items() if m in cost.cells]
        front = sorted(pareto([(-p.x, p.y) for p in points]), key=lambda i: points[i].x)
        title = f"{quality.title} against {cost.label}"
        plots.append(scatter(title, points, cost.label, quality.title, front, shown=cost.shown))
    return [side_by_side(plots)] if plots else [element("p", "No method has a result yet.")]


def _pictures(summary: Summary) -> list[Markup]:
    photos = sorted((summary.folder / "photos").glob("*.png"))
    parts = [element("h3", "The photos"), _grid(photos, "photo", [])]
    prompts = [t.replace("{}", summary.plan["noun"]) for t in summary.plan["protocol"]["templates"]]
    repeated = [p for p in prompts for _ in summary.plan["protocol"]["seeds"]]
    parts += [
        element("h3", TITLES["base"].capitalize()),
        _drawn(summary.folder / "untouched" / "base", "base", repeated),
    ]
    for run in summary.runs:
        if run["status"] == "done":
            name = f"{run['method']}-{run['seed']}"
            drawn = _drawn(summary.folder / "runs" / name / "concept_pictures", name, repeated)
            parts += [element("h3", f"{run['method']}, training seed {run['seed']}"), drawn]
    return parts


def _drawn(folder: Path, name: str, prompts: list[str]) -> Markup:
    """Pictures of as many different prompts as there is room for."""
    files = sorted(folder.glob("*.png"))
    step = max(1, len(files) // SHOWN)
    return _grid(files[::step][:SHOWN], name, prompts[::step])


def _grid(files: list[Path], name: str, captions: list[str]) -> Markup:
    shown: list[Markup] = []
    for i, file in enumerate(files):
        caption = captions[i] if i < len(captions) else ""
        with Image.open(file, formats=("PNG",)) as image:
            shown.append(picture(image, f"{name}: {caption or i + 1}", caption))
    return grid(shown)


def _settings(summary: Summary) -> list[Markup]:
    parts: list[Markup] = []
    for method in summary.methods:
        done = summary.done(method)
        if done:
            rows = [[key, json.dumps(value)] for key, value in done[0]["settings"].items()]
            times = ", ".join(f"{r['seconds']:.0f} s" for r in done)
            about = f"{done[0]['steps']} steps; {times} on {done[0]['device']}"
            parts.append(
                element("details", element("summary", f"{method}: {about}"), table(method, ["", ""], rows, words=True))
            )
    return parts
