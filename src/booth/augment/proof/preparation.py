"""What a proof holds, and all that is checked before its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from booth.augment.build import JUDGING, RECORD, require_outside
from booth.augment.classifiers import classifier
from booth.augment.copies import comparing_encoder
from booth.augment.generator import Generator
from booth.augment.labelled_set import LabelledSet
from booth.augment.proof.bench import Bench
from booth.augment.proof.choices import Chosen
from booth.augment.proof.plan import ProofPlan
from booth.augment.proof.statistics import Contrast, Said
from booth.augment.proof.verdicts import Verdict
from booth.augment.readers import read_set
from booth.augment.recipe import Recipe, require_labels
from booth.augment.splits import outer_folds
from booth.augment.state import read_json
from booth.core.errors import BadDataError, UsageError
from booth.events import Listener

FOLDER = "proof"
Tell = Callable[[str], None]


@dataclass
class Proof:
    """Everything that was found."""

    folder: Path
    plan: ProofPlan
    recipe: Recipe
    found: LabelledSet
    benches: list[Bench]
    said: dict[str, dict[str, Said]] = field(default_factory=dict[str, dict[str, Said]])  # by classifier and arm
    chosen: dict[str, list[Chosen]] = field(default_factory=dict[str, list[Chosen]])  # by "classifier arm", a fold each
    used: dict[str, int] = field(default_factory=dict[str, int])  # made pictures in the tested trainings, likewise
    contrasts: list[Contrast] = field(default_factory=list[Contrast])
    over_placebo: list[Contrast] = field(default_factory=list[Contrast])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    record: dict[str, Any] = field(default_factory=dict[str, Any])


def read_recipe(aug: Path) -> Recipe:
    """The recipe of a set that `booth augment` made; BadDataError for another folder."""
    record = read_json(aug / RECORD)
    if record is None:
        raise BadDataError(
            f"{aug} is no set of `booth augment`: it has no {RECORD}.",
            "Name the folder that it printed.",
            code="augment.no_set",
            field="aug",
        )
    return Recipe.model_validate(record["recipe"])


def prepare(aug: Path, recipe: Recipe, plan: ProofPlan, tell: Tell, listener: Listener | None = None) -> Proof:
    """Everything that can be checked before the work: the set, its folds, the words and that nothing leaks."""
    plan.checked()
    for name in plan.classifiers:
        classifier(name).make(2)  # a missing package is told before the work
    found = read_set(recipe.data, recipe.columns, recipe.images)
    for sentence in (found.layout, *found.notes):
        tell(sentence)
    require_labels(recipe, found)
    require_outside(recipe, found, aug)
    if plan.shots is not None and not recipe.classes:
        raise UsageError(
            "`shots` says how many pictures of the scarce classes are used.",
            "Name these with `classes`.",
            code="shots.without_classes",
            field="shots",
        )
    folds = outer_folds(found, plan.folds, plan.seed, recipe.classes, plan.shots)
    encoder = comparing_encoder(recipe.encoder)
    generator = Generator(recipe.base, recipe.device, listener)
    folder = aug / FOLDER
    benches = [
        Bench(fold, plan, recipe, found.labels, folder / f"fold-{fold.index}", generator, encoder, JUDGING)
        for fold in folds
    ]
    for bench in benches:
        for arm in plan.pictures:
            bench.maker(arm, 1.0)  # what it saw is looked at first of all
    return Proof(folder, plan, recipe, found, benches)
