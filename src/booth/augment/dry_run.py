"""What `booth augment` would do: pictures, minutes and bytes, with nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from booth.augment.build import prepared
from booth.augment.candidates import candidate
from booth.augment.contexts import contexts_of
from booth.augment.derived_set import training_side
from booth.augment.generator import Generator, Tell
from booth.augment.labelled_set import LabelledSet
from booth.augment.recipe import BASE, PLACEBO, Recipe
from booth.config import RunConfig
from booth.core.json_values import Json
from booth.train.estimate import seconds_per_picture
from booth.train.trainer import Trainer

PNG = 2.0  # bytes of a pixel in a PNG of a photograph, about


def describe(recipe: Recipe, out: Path, tell: Tell) -> dict[str, Json]:
    """The plan in plain values; raises what the run itself would raise at its start."""
    found = prepared(recipe, out, tell)
    training = training_side(found)
    labels = tuple(recipe.classes)
    measured = not labels
    counted = labels or training.labels[: max(1, len(training.labels) // 2)]
    pictures = recipe.per_class * len(counted)
    side, seconds, learned = max(p.size[0] for p in training.pictures), 0.0, 0.0
    if recipe.method != PLACEBO:
        side, seconds, learned = _estimated(recipe, training, counted, pictures)
    contexts = contexts_of(training.pictures[:: max(1, len(training.pictures) // 50)])
    prompts = [candidate(recipe, training, labels or training.labels, contexts, x, 0).prompt for x in counted]
    return {
        "dry_run": True,
        "out": str(out),
        "classes": {label: {"real": training.counts[label], "to_make": recipe.per_class} for label in labels},
        "measured": measured,
        "counts": dict(found.counts),
        "groups": len(found.groups),
        "pictures": pictures,
        "seconds": round(seconds, 1),
        "bytes": round(learned + pictures * side * side * PNG * 2),
        "prompts": prompts,
    }


def _estimated(
    recipe: Recipe, training: LabelledSet, labels: tuple[str, ...], pictures: int
) -> tuple[int, float, float]:
    """The side of a drawing, seconds and bytes, from a few real steps and a picture that is not kept."""
    session = Generator(recipe.base, recipe.device).session
    with session.model() as model:
        each = seconds_per_picture(model, recipe.steps * recipe.strength, pictures=pictures)
        side, seconds = model.resolution, pictures * each
    if recipe.method == BASE:
        return side, seconds, 0.0
    values: dict[str, Any] = {
        "photos": [training.of(labels[0])[0].path],
        "noun": recipe.noun_of(labels[0]),
        "token": recipe.token_of(labels[0], labels),
        "method": recipe.method,
        "base": recipe.base,
        "device": session.device,
        "settings": recipe.settings,
    }
    with Trainer(RunConfig(**values), session=session, keep=False) as trainer:
        estimate = trainer.estimate()
    runs = 1 if recipe.together else len(labels)
    return side, seconds + runs * estimate.train_seconds, runs * float(estimate.artifact_bytes)
