"""Steps and learning rate by leave-one-out: each photo in turn is kept from training and compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.errors import BadDataError
from booth.core.statistics import difference
from booth.events import Listener
from booth.registry import JUDGES
from booth.session import Session
from booth.train import setup
from booth.train.selection import Judge
from booth.train.trainer import Trainer

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


def tune(
    config: RunConfig,
    tell: Callable[[str], None] = lambda text: None,
    *,
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
) -> Tuned:
    """Train each rate on all photos but one, for up to five of them. Writes nothing but what the cache keeps.

    Each trial is the very training of `config` with one photo less: what is tuned is what is trained.
    """
    subject, sets = setup.load_subjects(config)
    config = config.model_copy(update={"token": subject.token, "noun": subject.noun})
    photos = sets[0].photos
    if len(photos) < 3:
        raise BadDataError(
            f"{len(photos)} photos are too few to leave one out.",
            "Give three or more, or do not tune.",
            code="photos.too_few",
            field="photos",
        )
    folds = [i * len(photos) // min(FOLDS, len(photos)) for i in range(min(FOLDS, len(photos)))]
    with ExitStack() as exits:
        if session is None:
            device = setup.choose_device(config.device)
            session = exits.enter_context(Session(config.base, device, config.family))
        how: dict[str, Any] = {"session": session, "cancel": cancel or CancelToken(), "keep": False}
        with Trainer(config, **how) as whole:
            own = whole.method.config
            judges = [JUDGES["checkpoints"](whole.model, subject, [photos[i].image], config.seed) for i in folds]
        trials: list[Trial] = []
        for rate in (own.learning_rate * share for share in RATES):
            found: dict[int, list[float]] = {}
            for fold, judge in zip(folds, judges, strict=True):
                kept = replace(sets[0], photos=tuple(p for i, p in enumerate(photos) if i != fold))
                trial = _trial(config, {"learning_rate": rate, "steps": own.steps})
                with Trainer(trial, photos=[kept, *sets[1:]], listeners=listeners, **how) as trainer:
                    for step, units in _scores(trainer, judge):
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


def _trial(config: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """The run with other settings, to its last step: it is the tuning that scores."""
    return config.model_copy(update={"until": "steps", "previews": 0, "settings": config.settings | settings})


def _scores(trainer: Trainer, judge: Judge) -> Iterator[tuple[int, list[float]]]:
    """(steps, what the judge says by prompt) at each mark of the last stage."""
    total = trainer.plan[-1].method.config.steps
    marks = {max(1, round(mark * total)) for mark in MARKS}
    for step in trainer:
        if trainer.plan_state.is_last and step.index in marks:
            with trainer.averaged():
                yield step.index, judge.score().units
