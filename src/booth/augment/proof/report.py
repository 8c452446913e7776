"""proof's report.html: the verdicts first, then the numbers that they rest on, then what was looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from booth.augment.making import Made
from booth.augment.proof.bench import known
from booth.augment.proof.choices import picture_arms
from booth.augment.proof.preparation import Proof
from booth.augment.proof.record import total_seconds
from booth.augment.recipe import PLACEBO
from booth.core.words import duration, size
from booth.evaluate.report.files import write_whole
from booth.evaluate.report.html import Markup, element, grid, page, picture, side_by_side, table, two_lines
from booth.evaluate.report.plots import Bar, intervals

PAGE = "report.html"
SHOWN = 8
NUMBERS = ("balanced_accuracy", "macro_recall", "macro_f1", "accuracy", "auc", "calibration_error")


def write_report(proof: Proof) -> Path:
    """Write the page; return its file."""
    file = proof.folder / PAGE
    write_whole(file, proof_page(proof))
    return file


def proof_page(proof: Proof) -> str:
    """The whole page."""
    parts: list[Markup] = []
    for name in proof.plan.classifiers:
        parts += [element("h2", name), *_verdicts(proof, name), _intervals(proof, name), *_tables(proof, name)]
        parts.append(_curves(proof, name))
    return page(
        "Do more pictures help?",
        element("p", _introduction(proof), class_="soft"),
        *parts,
        element("h2", "What was made"),
        _made(proof),
        *_sheets(proof),
        element("h2", "How it was done"),
        *_method(proof),
    )


def _introduction(proof: Proof) -> str:
    plan = proof.plan
    return (
        f"{len(proof.found.pictures)} real pictures of {len(proof.found.groups)} groups, {len(proof.benches)} "
        "folds by groups, "
        f"{plan.seeds} trainings of {plan.steps} steps in each arm of each fold, {duration(total_seconds(proof))} "
        "of training "
        f"classifiers, {size(proof.record['bytes'])} on the disk."
    )


def _verdicts(proof: Proof, name: str) -> list[Markup]:
    tone = {"use it": "good", "harmful": "bad"}
    found = [v for v in proof.verdicts if v.classifier == name]
    return [element("p", v.sentence, class_=f"verdict {tone.get(v.word, 'soft')}") for v in found]


def _intervals(proof: Proof, name: str) -> Markup:
    plots: list[Markup] = []
    for title, contrasts in (("the best cheap arm", proof.contrasts), ("the placebo", proof.over_placebo)):
        bars = [Bar(c.arm, c.mean, c.low, c.high) for c in contrasts if c.classifier == name]
        if bars:
            heading = element("h3", f"Points of balanced accuracy over {title}")
            plots.append(element("div", heading, intervals(f"{name}: over {title}", bars)))
    return side_by_side(plots)


def _tables(proof: Proof, name: str) -> list[Markup]:
    numbers: dict[str, dict[str, Any]] = proof.record["numbers"][name]
    best = max(n["balanced_accuracy"] for n in numbers.values())
    rows: list[list[Any]] = []
    for arm, told in numbers.items():
        cells = [f"{told[key]:.3f}" for key in NUMBERS]
        cells[0] = two_lines(cells[0], f"± {told['deviation_over_seeds']:.3f} over seeds")  # type: ignore[call-overload]
        rows.append(
            [
                arm,
                *(
                    element("td", c, class_="best") if i == 0 and told[NUMBERS[0]] == best else c
                    for i, c in enumerate(cells)
                ),
            ]
        )
    recall = [key for key in next(iter(numbers.values())) if key.startswith("recall ")]
    each = [[arm, *(f"{told[key]:.3f}" for key in recall)] for arm, told in numbers.items()]
    return [
        table(
            "On the real test sides, which were looked at once.", ["arm", *(n.replace("_", " ") for n in NUMBERS)], rows
        ),
        table("Recall of each class.", ["arm", *(key.removeprefix("recall ") for key in recall)], each),
    ]


def _curves(proof: Proof, name: str) -> Markup:
    ratios = sorted(proof.plan.ratios)
    rows: list[list[str]] = []
    for arm in picture_arms(proof.benches[0]):
        curves = [chosen.curve for chosen in proof.chosen[f"{name} {arm}"]]
        means = [np.mean([c[r] for c in curves if r in c]) if any(r in c for c in curves) else np.nan for r in ratios]
        choices = [chosen.choice for chosen in proof.chosen[f"{name} {arm}"]]
        told = "; ".join(f"{c.strength:g}, {c.filter}, {c.ratio:g}" for c in choices)
        rows.append([arm, *("" if np.isnan(m) else f"{m:.3f}" for m in means), told])
    caption = (
        "Balanced accuracy on the inner validation side by how many pictures were drawn for each real one, mean "
        "over folds; "
        "and strength, filter and ratio that were chosen in each fold."
    )
    return table(caption, ["arm", *(f"{r:g}" for r in ratios), "chosen"], rows)


def _made(proof: Proof) -> Markup:
    rows = [
        [arm, str(told["drawn"]), *(f"{told[key]:.0%}" for key in ("copies", "above_floor", "outliers", "left_out"))]
        for arm, told in proof.record["made"].items()
    ]
    caption = (
        f"Compared with {proof.benches[0].encoder.title}. Above the floor: nearer to a picture of the training "
        "side than 95 % "
        "of real ones are to one of another group. A placebo is a copy by intent. Left out: by the likeness filter."
    )
    return table(caption, ["arm", "drawn", "copies", "above the floor", "outliers", "left out"], rows)


def _sheets(proof: Proof) -> list[Markup]:
    bench, parts = proof.benches[0], list[Markup]()
    for label in bench.scarce:
        parts += [element("h3", f"{label}: real, of fold 0's training side")]
        parts.append(grid(picture(p.image(), p.name) for p in bench.fold.train.of(label)[:SHOWN]))
        for arm in picture_arms(bench):
            choice = proof.chosen[f"{proof.plan.classifiers[0]} {arm}"][0].choice
            drawn = known(bench.maker(arm, choice.strength), label)[:SHOWN]
            if drawn:
                parts += [element("h3", f"{label}: {arm}, strength {choice.strength:g}"), grid(map(_shown, drawn))]
    return parts


def _shown(made: Made) -> Markup:
    left = "copy" if made.is_copy and made.method != PLACEBO else "far from all" if made.is_outlier else ""
    return picture(Image.open(made.file), made.prompt, f"{made.likeness:.2f} {left}")


def _method(proof: Proof) -> list[Markup]:
    sides = [
        [
            f"fold {fold}",
            *(
                f"{sum(counts.values())} ({', '.join(f'{k} {v}' for k, v in counts.items())})"
                for counts in told.values()
            ),
        ]
        for fold, told in proof.record["sides"].items()
    ]
    sentences = [
        "No group and no file is on two sides of a fold; what teaches and draws saw the training side alone, by "
        "the hashes in "
        "each concept's record. The validation side chose strength, filter, ratio and the step that is kept.",
        "Arms with made pictures show classes equally often, as oversampling does, so that what is measured is "
        "the pictures "
        "and not the balance. The placebo is real pictures lightly distorted, as many as were drawn.",
        f"Contrasts were written down before the run ({len(proof.contrasts)} of them, Holm's correction). "
        "Intervals are 95 % "
        "bootstrap over groups, paired, and over training seeds. The best cheap arm is chosen on the test sides, which "
        "favours it.",
    ]
    return [
        *(element("p", s) for s in sentences),
        table("Pictures of each side.", ["", "train", "validation", "test"], sides, words=True),
    ]
