"""Steps and learning rate by leave-one-out: each photo in turn is kept from training and compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from booth.config import RunConfig
from booth.core.cache import cache_folder
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, Stage, Subject
from booth.core.statistics import difference
from booth.data.batches import Lesson, PhotoBatches
from booth.data.photos import PhotoSet, load_photos
from booth.data.prior import class_pictures, class_prompt
from booth.families.loading import base_hash
from booth.generate.draw import draw
from booth.registry import JUDGES, METHODS
from booth.train import setup
from booth.train.loop import training_steps
from booth.train.plan_state import PlanState
from booth.train.selection import Judge

FOLDS = 5
RATES = (0.5, 1.0, 2.0)  # of the method's own rate
MARKS = (0.25, 0.5, 1.0)  # of the method's own steps at which the held-out photo is compared with


@dataclass(frozen=True)
class Trial:
    """One rate and number of steps, on every fold."""

    learning_rate: float
    steps: int
    units: tuple[float, ...]  # by fold and prompt

    @property
    def mean(self) -> float:
        """Over folds and prompts, 0 to 1."""
        return math.fsum(self.units) / len(self.units)


@dataclass(frozen=True)
class Tuned:
    """The trials and the one that is to be trained with all photos."""

    trials: list[Trial]
    chosen: Trial

    @property
    def settings(self) -> dict[str, Any]:
        """For RunConfig.settings."""
        return {"learning_rate": self.chosen.learning_rate, "steps": self.chosen.steps}


def tune(config: RunConfig, tell: Callable[[str], None] = lambda text: None) -> Tuned:
    """Train each rate on all photos but one, for up to five of them. Writes nothing but cached class pictures."""
    photos = load_photos(config.photos)
    config = config.model_copy(update={"token": setup.choose_token(config.token, photos)})
    if len(photos.photos) < 3:
        raise BadDataError(
            f"{len(photos.photos)} photos are too few to leave one out. Give three or more, or leave --tune out."
        )
    model = setup.load_base(config, setup.choose_device(config.device))
    own = setup.method_settings(config, model.scale)
    folds = [i * len(photos.photos) // min(FOLDS, len(photos.photos)) for i in range(min(FOLDS, len(photos.photos)))]
    subject = Subject(config.token, config.noun, config.kind)
    judges = [JUDGES["checkpoints"](model, subject, [photos.photos[i].image], config.seed) for i in folds]
    trials: list[Trial] = []
    for rate in (own.learning_rate * share for share in RATES):
        found: dict[int, list[float]] = {}
        for fold, judge in zip(folds, judges, strict=True):
            kept = tuple(p for i, p in enumerate(photos.photos) if i != fold)
            settings = own.model_copy(update={"learning_rate": rate})
            for step, units in _scores(config, model, settings, replace(photos, photos=kept), judge):
                found.setdefault(step, []).extend(units)
            tell(f"Tried a learning rate of {rate:g} without photo {fold + 1}.")
        trials += [Trial(rate, step, tuple(units)) for step, units in found.items()]
    chosen = choose(trials)
    tell(
        f"Chosen: learning rate {chosen.learning_rate:g}, {chosen.steps} steps ({chosen.mean:.2f} on held-out photos)."
    )
    return Tuned(trials, chosen)


def choose(trials: list[Trial]) -> Trial:
    """The best on average or, at the same rate, the one with fewest steps that is within noise of it."""
    best = max(trials, key=lambda t: t.mean)
    rivals = [t for t in trials if t.learning_rate == best.learning_rate and t.steps < best.steps]
    near = [t for t in rivals if difference(best.units, t.units).is_noise]
    return min(near, key=lambda t: t.steps, default=best)


def _scores(
    config: RunConfig, model: Family, settings: MethodConfig, photos: PhotoSet, judge: Judge
) -> Iterator[tuple[int, list[float]]]:
    """Train on `photos` and yield (steps, what the judge says by prompt) at each mark; then take everything out."""
    kind: type[Method] = METHODS[config.method]
    plan = kind(settings, Subject(config.token, config.noun, config.kind)).plan()
    precision = setup.choose_precision(config.precision, setup.choose_device(config.device))
    drawn = _class_pictures(config, model, plan)
    stages = PlanState(model, plan, config.seed, lambda: setup.make_scaler(precision))
    try:
        for stage in plan:
            update, total = stages.open(), stage.method.config.steps
            marks = {max(1, round(mark * total)) for mark in MARKS} if stages.is_last else set[int]()
            how: dict[str, Any] = {"seed": stages.seed, "autocast": setup.autocast_type(precision)}
            batches = _batches(config, model, stage, photos, drawn)
            for step in training_steps(model, batches, update, start=0, stop=total, **how):
                if step.index in marks:
                    with update.averaged():
                        yield step.index, judge.score().units
            stages.close()
    finally:
        stages.detach()


def _class_pictures(config: RunConfig, model: Family, plan: list[Stage]) -> list[Any]:
    own = [s.method.config for s in plan]
    wanted = [c.class_pictures for c in own if c.prior_weight > 0]
    if not wanted:
        return []
    cache = cache_folder() / "class_pictures"
    arguments = (config.noun, max(wanted), config.seed, cache, base_hash(model.base), draw)
    return class_pictures(model, *arguments, kind=config.kind, guidance=model.guidance)


def _batches(config: RunConfig, model: Family, stage: Stage, photos: PhotoSet, drawn: list[Any]) -> PhotoBatches:
    own, prompts = stage.method.config, stage.method.prompts()
    asked = class_prompt(config.noun, config.kind)
    return PhotoBatches(
        model,
        [Lesson(stage.method.subject, photos, prompts, asked, drawn[: own.class_pictures])],
        batch_size=own.batch_size,
        prior_weight=own.prior_weight,
        showing=setup.showing(config),
        caption_dropout=own.caption_dropout,
        accumulate=own.accumulate,
    )
