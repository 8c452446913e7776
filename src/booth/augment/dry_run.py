"""What `booth augment` would do: pictures, minutes and bytes, with nothing written."""

from __future__ import annotations

import time
from typing import Any

from booth.augment.build import prepared
from booth.augment.candidates import candidate
from booth.augment.contexts import contexts_of
from booth.augment.derived_set import training_side
from booth.augment.generator import Generator, Tell
from booth.augment.recipe import BASE, PLACEBO, Recipe
from booth.config import RunConfig
from booth.train.dry_run import rehearsed
from booth.train.estimate import seconds_per_picture

PNG = 2.0  # bytes of a pixel in a PNG of a photograph, about


def describe(recipe: Recipe, out: Any, tell: Tell) -> dict[str, Any]:
    """The plan in plain values; raises what the run itself would raise at its start."""
    began = time.perf_counter()
    found = prepared(recipe, out, tell)
    training = training_side(found)
    labels = tuple(recipe.classes)
    measured = not labels
    counted = labels or training.labels[: max(1, len(training.labels) // 2)]
    pictures = recipe.per_class * len(counted)
    seconds = training_bytes = 0.0
    side = max(p.size[0] for p in training.pictures)
    if recipe.method != PLACEBO:
        generator = Generator(recipe.base, recipe.device)
        side = generator.model.resolution
        seconds = pictures * seconds_per_picture(generator.model) * recipe.steps / 30 * recipe.strength
        if recipe.method != BASE:
            runs = 1 if recipe.together else len(counted)
            label = counted[0]
            values: dict[str, Any] = {
                "photos": [training.of(label)[0].path],
                "noun": recipe.noun_of(label),
                "token": recipe.token_of(label, labels or training.labels),
                "method": recipe.method,
                "base": recipe.base,
                "device": recipe.device,
                "settings": recipe.settings,
            }
            quote = rehearsed(RunConfig(**values), generator.model)
            seconds += runs * quote.train_seconds
            training_bytes = runs * float(quote.artifact_bytes)
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
        "bytes": round(training_bytes + pictures * side * side * PNG * 2),
        "prompts": prompts,
        "looked_for": round(time.perf_counter() - began, 1),
    }
