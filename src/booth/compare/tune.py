"""Steps and learning rate by leave-one-out: each photo in turn is kept from training and compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.errors import BadDataError
from booth.core.json_values import Json
from booth.core.method import MethodConfig
from booth.core.statistics import difference
from booth.events import Listener
from booth.executor.job import Executor, Job, Resident, raise_failed
from booth.executor.spread import spread
from booth.registry import JUDGES
from booth.session import Session
from booth.train import setup
from booth.train.identity import lasting_name
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
    def settings(self) -> dict[str, Json]:
        """For RunConfig.settings."""
        return {"learning_rate": self.chosen.learning_rate, "steps": self.chosen.steps}


@dataclass(frozen=True)
class Attempt:
    """One training: at which rate, for how many steps, and without which photo."""

    learning_rate: float
    steps: int
    fold: int


class LeaveOneOut:
    """Trains on all photos but one, and has that one judge, on the base that a session holds."""

    def __init__(
        self, config: RunConfig, session: Session, cancel: CancelToken, listeners: Sequence[Listener] = ()
    ) -> None:
        self._subject, self._sets = setup.load_subjects(config)
        self._config = config.model_copy(update={"token": self._subject.token, "noun": self._subject.noun})
        self._listeners = listeners
        self._how: dict[str, Any] = {"session": session, "cancel": cancel, "keep": False}
        self._judges: dict[int, Judge] = {}

    def prepare(self, folds: Sequence[int]) -> MethodConfig:
        """Have the photos of these folds know what the base draws; the method's settings with all photos."""
        with Trainer(self._config, **self._how) as whole:
            for fold in folds:
                shown = [self._sets[0].photos[fold].image]
                self._judges[fold] = JUDGES["checkpoints"](whole.model, self._subject, shown, self._config.seed)
            return whole.method.config

    def scores(self, attempt: Attempt) -> list[tuple[int, list[float]]]:
        """(steps, what the judge says by prompt) at each mark of the last stage."""
        if attempt.fold not in self._judges:
            self.prepare([attempt.fold])
        kept = tuple(p for i, p in enumerate(self._sets[0].photos) if i != attempt.fold)
        photos = [replace(self._sets[0], photos=kept), *self._sets[1:]]
        trial = _trial(self._config, {"learning_rate": attempt.learning_rate, "steps": attempt.steps})
        with Trainer(trial, photos=photos, listeners=self._listeners, **self._how) as trainer:
            return list(_scores(trainer, self._judges[attempt.fold]))


def tune(
    config: RunConfig,
    tell: Callable[[str], None] = lambda text: None,
    *,
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    executor: Executor | None = None,
) -> Tuned:
    """Train each rate on all photos but one, for up to five of them. Writes nothing but what the cache keeps.

    Each trial is the very training of `config` with one photo less: what is tuned is what is trained. With an
    `executor` the trainings are its workers', each of which holds a base.
    """
    count = len(setup.load_subjects(config)[1][0].photos)
    if count < 3:
        raise BadDataError(
            f"{count} photos are too few to leave one out.",
            "Give three or more, or do not tune.",
            code="photos.too_few",
            field="photos",
        )
    folds = [i * count // min(FOLDS, count) for i in range(min(FOLDS, count))]
    cancel = cancel or CancelToken()
    with ExitStack() as exits:
        own_session = session is None
        if session is None:
            device = setup.choose_device(config.device)
            session = exits.enter_context(Session(config.base, device, config.family))
        here = LeaveOneOut(config, session, cancel, listeners)
        own = here.prepare(folds if executor is None else [])
        attempts = [Attempt(own.learning_rate * share, own.steps, fold) for share in RATES for fold in folds]
        if executor is None:
            done = ((attempt, here.scores(attempt)) for attempt in attempts)
        else:
            if own_session:
                session.close()  # the workers hold one each
            done = _spread(config, attempts, session.device, executor, cancel)
        found: dict[Attempt, list[tuple[int, list[float]]]] = {}
        for attempt, scores in done:
            found[attempt] = scores
            tell(f"Tried a learning rate of {attempt.learning_rate:g} without photo {attempt.fold + 1}.")
    trials = _trials([(attempt.learning_rate, found[attempt]) for attempt in attempts])
    chosen = choose(trials)
    tell(
        f"Chosen: learning rate {chosen.learning_rate:g}, {chosen.steps} steps ({chosen.mean:.2f} on held-out photos)."
    )
    return Tuned(trials, chosen)


def attempted(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """One training, a job of an executor."""
    config, attempt = RunConfig.model_validate(arguments["config"]), Attempt(**arguments["attempt"])
    base = (config.base, arguments["device"], config.family)
    session = resident.hold("base", base, lambda: Session(*base))
    key = json.dumps([arguments["config"], arguments["device"]], sort_keys=True)
    fitting = resident.hold("tuning", key, lambda: LeaveOneOut(config, session, resident.cancel))
    return {"scores": fitting.scores(attempt)}


def _spread(
    config: RunConfig, attempts: Sequence[Attempt], device: str, executor: Executor, cancel: CancelToken
) -> Iterator[tuple[Attempt, list[tuple[int, list[float]]]]]:
    """The trainings by workers, from wherever these are started."""
    told = {"config": _anywhere(config), "device": device}
    jobs = [
        Job(str(i), "booth.compare.tune:attempted", {**told, "attempt": asdict(attempt)})
        for i, attempt in enumerate(attempts)
    ]
    for outcome in spread(executor, jobs, cancel):
        raise_failed(outcome)
        scores = [(step, list(units)) for step, units in outcome.result["scores"]]
        yield Attempt(**outcome.job.arguments["attempt"]), scores


def _anywhere(config: RunConfig) -> dict[str, Any]:
    """The run as a worker in another folder understands it; what is not set stays so."""
    places = {"photos": [p.absolute() for p in config.photos], "base": lasting_name(config.base)}
    also = [other.model_copy(update={"photos": [p.absolute() for p in other.photos]}) for other in config.also]
    start = {"start_from": config.start_from.absolute()} if config.start_from else {}
    named = {"also": also, **places, **start}
    update = {name: value for name, value in named.items() if name in config.model_fields_set}
    return config.model_copy(update=update).model_dump(mode="json", exclude_unset=True)


def _trials(found: Sequence[tuple[float, list[tuple[int, list[float]]]]]) -> list[Trial]:
    """All folds of a rate and number of steps together."""
    units: dict[tuple[float, int], list[float]] = {}
    for rate, scores in found:
        for step, own in scores:
            units.setdefault((rate, step), []).extend(own)
    return [Trial(rate, step, tuple(values)) for (rate, step), values in units.items()]


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
