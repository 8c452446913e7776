"""One fold with all that makes pictures for it and all that is trained on it; jobs are run here."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from booth.augment.classifiers import default_classifiers
from booth.augment.crossfit import CrossFit, cross_fit
from booth.augment.fit import Rows, Schedule, fit, probabilities, rows_of
from booth.augment.generator import Generator
from booth.augment.leaks import require_unseen
from booth.augment.making import Made, Maker
from booth.augment.proof.external import External
from booth.augment.proof.plan import CHEAP, ProofPlan
from booth.augment.recipe import PLACEBO, Recipe
from booth.augment.splits import Fold
from booth.augment.state import digest
from booth.core.encoder import Encoder
from booth.core.json_values import Json
from booth.core.rng import derived_seed


@dataclass(frozen=True)
class Choice:
    """Which made pictures an arm takes."""

    strength: float
    filter: str
    ratio: float


@dataclass
class Bench:
    """Everything of one fold. What is drawn sees its training side alone."""

    fold: Fold
    plan: ProofPlan
    recipe: Recipe
    labels: tuple[str, ...]  # all classes
    folder: Path
    generator: Generator
    encoder: Encoder
    judging: Schedule
    _makers: dict[tuple[str, float], Maker | External] = field(
        default_factory=dict[tuple[str, float], Maker | External], init=False
    )

    @cached_property
    def judges(self) -> CrossFit | None:
        """Classifiers fitted to parts of the training side, if a filter or the choice of classes asks for them."""
        if self.recipe.classes and "classifier" not in self.plan.filters:
            return None
        name = default_classifiers()[0]
        return cross_fit(self.fold.train, name, self.judging, self.plan.seed, self.folder / "crossfit")

    @cached_property
    def scarce(self) -> tuple[str, ...]:
        """The classes of which pictures are made: as named, or the weakest on this fold's training side."""
        if self.recipe.classes:
            return tuple(self.recipe.classes)
        assert self.judges is not None
        return tuple(self.judges.weakest)

    def maker(self, arm: str, strength: float) -> Maker | External:
        """What makes an arm's pictures."""
        if (arm, strength) not in self._makers:
            self._makers[arm, strength] = self._new(arm, strength)
        return self._makers[arm, strength]

    def _new(self, arm: str, strength: float) -> Maker | External:
        if arm in self.plan.pictures:
            return External(arm, self.plan.pictures[arm], self.fold, self.scarce, self.encoder)
        settings = self.recipe.settings if arm == self.recipe.method else {}
        recipe = self.recipe.model_copy(update={"method": arm, "strength": strength, "settings": settings})
        home, judges = self.folder / arm.replace(":", "-"), lambda: self.judges
        return Maker(recipe, self.fold.train, self.scarce, home, self.generator, self.encoder, judges)

    def strengths(self, arm: str) -> list[float]:
        """What may be chosen for an arm."""
        return [1.0] if arm in self.plan.pictures or arm == PLACEBO else list(self.plan.strengths)

    def filters(self, arm: str) -> list[str]:
        """What may be chosen for an arm; a placebo's copies are what it is there for."""
        return ["none"] if arm == PLACEBO else list(self.plan.filters)

    def extra(self, arm: str, choice: Choice) -> list[Made]:
        """The made pictures that an arm learns from: so many for each real one of a class."""
        maker, found = self.maker(arm, choice.strength), list[Made]()
        for label in self.scarce:
            wanted = math.ceil(choice.ratio * self.fold.train.counts[label])
            found += maker.kept(label, wanted, choice.filter)
        if isinstance(maker, Maker):
            for concept in {c.folder: c for c in maker.taught.values()}.values():
                for side in (self.fold.test, self.fold.validation):
                    require_unseen(concept.record.photos, side, f"The concept {concept.folder}")
        return found

    def classify(self, config: Mapping[str, Any]) -> dict[str, Json]:
        """Train one classifier in one arm; what it says of the test side is looked at only where the job asks so."""
        began, arm = time.perf_counter(), config["arm"]
        self.fold.require_no_leak()
        made = self.extra(arm, Choice(**config["choice"])) if config["choice"] else []
        real, shown = (rows_of(side.pictures, self.labels) for side in (self.fold.train, self.fold.validation))
        more = Rows(tuple(m.file for m in made), tuple(self.labels.index(m.label) for m in made))
        how = arm if arm in CHEAP else "oversampling"
        schedule, seed = self.plan.schedule, derived_seed(self.plan.seed, self.fold.index, config["seed"])
        fitted = fit(config["classifier"], real, more, shown, len(self.labels), how, schedule, seed)
        told: dict[str, Any] = {"step": fitted.step, "validation": round(fitted.validation, 5), "made": len(made)}
        if config["test"]:
            pixels = rows_of(self.fold.test.pictures, self.labels).pixels(schedule.side)
            told["test"] = np.round(probabilities(fitted.net, pixels), 6).tolist()
        return told | {"seconds": round(time.perf_counter() - began, 2)}

    @property
    def split(self) -> str:
        """What tells this division from another."""
        sides = (self.fold.train, self.fold.validation, self.fold.test)
        return digest([[p.sha256 for p in side.pictures] for side in sides])

    def made_so_far(self, arm: str) -> list[Made]:
        """Every picture of an arm that exists, kept or not."""
        found: list[Made] = []
        for (name, _), maker in self._makers.items():
            if name == arm:
                found += [m for label in self.scarce for m in known(maker, label)]
        return found


def known(maker: Maker | External, label: str) -> list[Made]:
    """What was made of a class by now."""
    if isinstance(maker, External):
        return maker.made(label)
    count = sum(1 for p in maker.home(label).glob("*.png") if not p.name.startswith("."))
    return maker.made(label, count) if count else []
