"""The page of one evaluation."""

from __future__ import annotations

import math
from typing import Any

from booth.core.metric import Score
from booth.evaluate.report.html import (
    Markup,
    element,
    grid,
    joined,
    page,
    picture,
    side_by_side,
    table,
    two_lines,
)
from booth.evaluate.report.plots import Bar, intervals
from booth.evaluate.report.together import used_together
from booth.evaluate.rows import BASE, CONCEPT, TITLES
from booth.evaluate.run import Evaluation
from booth.registry import METRICS

SHOWN = 24  # pictures a grid
ARROWS = {"higher": "↑", "lower": "↓"}
PLOTTED = ("joint", "identity", "subject_similarity", "prompt_similarity")


def evaluation_page(evaluation: Evaluation) -> str:
    """The whole page: verdicts, numbers, plots, pictures, copies, and how it was done."""
    record = evaluation.concept.record
    subject = f"{record.subject.token} {record.subject.noun}"
    return page(
        f"{subject}, taught by {record.method}",
        element("p", _introduction(evaluation), class_="soft"),
        *(_verdict(v.sentence, v.good) for v in evaluation.verdicts),
        element("h2", "Numbers"),
        *_numbers(evaluation),
        *_plots(evaluation),
        element("h2", "Pictures"),
        *_pictures(evaluation),
        *used_together(evaluation),
        element("h2", "Nearest photos"),
        *_nearest(evaluation),
        element("h2", "How it was measured"),
        *_method(evaluation),
    )


def _introduction(evaluation: Evaluation) -> str:
    protocol, record = evaluation.protocol, evaluation.concept.record
    return (
        f"{len(protocol.templates)} prompts ({protocol.suite}) x {len(protocol.seeds)} seeds, compared with "
        f"{len(evaluation.photos.references)} {'held-out' if evaluation.photos.held_out else 'training'} photos. "
        f"Trained in {record.seconds:.0f} s on {record.device}. Intervals are 95 % bootstrap over "
        "prompts; for PRES, DIV of the class, CMMD and KID, which no prompt of the subject is drawn for, over pictures."
    )


def _verdict(sentence: str, good: bool) -> Markup:
    return element("p", sentence, class_=f"verdict {'good' if good else 'bad'}")


def number(score: Score | None) -> Markup:
    """A value with its interval."""
    if score is None:
        return Markup()
    has_interval = score.low < score.high or bool(score.units)
    interval = f"[{score.low:.3f}, {score.high:.3f}]" if math.isfinite(score.low) and has_interval else ""
    return two_lines(METRICS[score.metric].shown(score.value, score.part), interval)


def _numbers(evaluation: Evaluation) -> list[Markup]:
    rows = [
        [
            two_lines(f"{evaluation.label(score)}\u00a0{ARROWS[METRICS[score.metric].better]}", score.encoder),
            *(number(evaluation.measured[row].scores.get(name)) for row in TITLES),
        ]
        for name, score in evaluation.measured[CONCEPT].scores.items()
    ]
    caption = "↑ higher is better, ↓ lower is better. Each line is of one encoder; lines are not to be compared."
    refused = [f"{name}: {reason}." for name, reason in evaluation.measured[CONCEPT].refused.items()]
    missing = element("ul", *(element("li", sentence) for sentence in refused))
    reasons = element("details", element("summary", "What was not measured, and why"), missing)
    return [table(caption, ["", *TITLES.values()], rows), reasons if refused else Markup()]


def _plots(evaluation: Evaluation) -> list[Markup]:
    plots: list[Markup] = []
    for name, score in evaluation.measured[CONCEPT].scores.items():
        if score.metric not in PLOTTED or score.part == "token_kept":
            continue
        found = [(row, m.scores[name]) for row, m in evaluation.measured.items() if name in m.scores]
        bars = [Bar(row.replace("_", " "), s.value, s.low, s.high) for row, s in found]
        title = f"{evaluation.label(score)} ({score.encoder})"
        plots.append(element("div", element("h3", title), intervals(title, bars)))
    return [side_by_side(plots)]


def _pictures(evaluation: Evaluation) -> list[Markup]:
    parts: list[Markup] = [element("h3", "The reference photos")]
    parts.append(grid(picture(p, f"reference photo {i}") for i, p in enumerate(evaluation.photos.references, 1)))
    for row in (CONCEPT, BASE):
        drawn = evaluation.evidence[row].drawn
        step = max(1, len(drawn) // SHOWN)
        shown = [picture(d.image, f"{row}: {d.prompt}, seed {d.seed}", d.plain) for d in drawn[::step][:SHOWN]]
        parts += [element("h3", TITLES[row].capitalize()), grid(shown)]
    return parts


def _nearest(evaluation: Evaluation) -> list[Markup]:
    """The drawings that are nearest to a training photo, each beside it."""
    score = evaluation.measured[CONCEPT].first("copying", "nearest")
    if score is None:
        return [element("p", "Not measured: there are no two different training photos, or no encoder for subjects.")]
    drawn, photos = evaluation.evidence[CONCEPT].drawn, evaluation.photos.training
    order = sorted(enumerate(score.details["matches"]), key=lambda pair: -pair[1][1])[: SHOWN // 2]
    pairs = [
        grid(
            [
                picture(
                    drawn[i].image, f"drawn: {drawn[i].prompt}", f"cosine {cosine:.3f}{', a copy' if copy else ''}"
                ),
                picture(photos[photo - 1], f"training photo {photo}", f"photo {photo}"),
            ]
        )
        for i, (photo, cosine, copy) in order
    ]
    caption = (
        "A copy is laid out like a photo and nearer to it than any two different photos are to each other, whose "
        f"highest cosine is {score.details['threshold']:.3f}"
    )
    return [element("p", f"{caption} ({score.encoder}).", class_="soft"), element("div", *pairs, class_="grid")]


def _method(evaluation: Evaluation) -> list[Markup]:
    rows = [
        [e.name, e.title, str(about["weights"])[:19], about["preprocessing_hash"], _errors(about)]
        for e in evaluation.encoders
        for about in [e.about()]
    ]
    header = ["encoder", "what it is", "weights", "preprocessing", "its own errors"]
    protocol, masks = evaluation.protocol, evaluation.photos.masks.about()
    sentences = [
        "Pairs are all drawn x all reference pictures, averaged by prompt; no photo is compared with itself.",
        f"Seeds {', '.join(map(str, protocol.seeds))}; {protocol.steps} steps, guidance {protocol.guidance:g}.",
        f"Drift: {protocol.drift} pictures of the class and of unrelated prompts a side.",
        f"Subject and background are told apart by {masks['by']}; {masks['painted']} photos brought a mask.",
    ]
    prompts = element("ol", *(element("li", t) for t in protocol.templates))
    return [
        joined(element("p", s) for s in sentences),
        table("Encoders with the start of their hashes", header, rows, words=True),
        element("details", element("summary", "The prompts"), prompts),
    ]


def _errors(about: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in about.get("errors", {}).items())
