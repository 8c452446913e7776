"""The part of the page on several subjects that are used together."""

from __future__ import annotations

from booth.evaluate.report.html import Markup, element, grid, picture, table
from booth.evaluate.rows import CONCEPT
from booth.evaluate.run import Evaluation

SHOWN = 6  # pictures of each subject
STATES = {
    "untouched": "the untouched base",
    "alone": "its concept alone",
    "loaded": "all loaded",
    "together": "all asked for",
}


def used_together(evaluation: Evaluation) -> list[Markup]:
    """Likeness to the subject asked for and to the others, and pictures; nothing where there is one subject."""
    evidence = evaluation.evidence[CONCEPT]
    if not evidence.subjects_together:
        return []
    parts: list[Markup] = [element("h2", "Used together"), *_likeness(evaluation)]
    for one in evidence.subjects_together:
        parts.append(element("h3", f"Asked for {one.subject.name}, with all loaded"))
        parts.append(grid(picture(d.image, f"{d.prompt}, seed {d.seed}", d.plain) for d in one.loaded[:SHOWN]))
    parts.append(element("h3", "All asked for in one prompt"))
    parts.append(grid(picture(d.image, d.prompt, d.prompt) for d in evidence.drawn_together[:SHOWN]))
    return parts


def _likeness(evaluation: Evaluation) -> list[Markup]:
    score = evaluation.measured[CONCEPT].first("bleeding", "other")
    if score is None:
        return []
    subjects: dict[str, dict[str, dict[str, float]]] = score.details["subjects"]
    states = [state for state in STATES if any(state in found for found in subjects.values())]
    rows = [
        [f"{name}: {kind}", *(f"{found[state][key]:.3f}" if state in found else "" for state in states)]
        for name, found in subjects.items()
        for key, kind in (("own", "likeness to it"), ("other", "likeness to the others"))
    ]
    caption = (
        f"Mean cosine with photos by {score.encoder}. Only the subject named is asked for, but in the last column."
    )
    return [table(caption, ["", *(STATES[state] for state in states)], rows)]
