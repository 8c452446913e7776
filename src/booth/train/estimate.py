"""What a run will cost, from a few real steps: before it starts, and how well the estimate was kept."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from booth.choices import noising_of
from booth.core.batch import Batch
from booth.core.commit import size_of
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Stage
from booth.core.rng import Rng
from booth.core.words import duration
from booth.data.own_predictions import OwnPredictions, Untouched
from booth.events import Reporter
from booth.generate.draw import STEPS, draw, drawn_at_once
from booth.train import setup
from booth.train.loop import device_of, training_steps
from booth.train.plan_state import PlanState
from booth.train.samples import CONTEXTS
from booth.train.timing import peak_memory

WARM, MEASURED = 1, 4  # steps that are thrown away, and steps that are timed
FEW, MORE = 2, 5  # denoising steps of the pictures that are timed
LEAST = 0.05  # no estimate is better than this share, for a machine is never quite idle
WRITTEN = 200_000_000  # bytes up to which the artefact is really written to see its size
TOLD = 10  # real steps after which a running stage says how long it will take
WORTH = 50  # steps of a stage below which that is not worth a sentence


@dataclass(frozen=True)
class Speed:
    """Seconds a step, and the standard error of that."""

    mean: float
    error: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Speed:
        """From a few timed steps."""
        spread = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
        return cls(statistics.fmean(seconds), spread / math.sqrt(len(seconds)))

    def and_always(self, seconds: float) -> Speed:
        """So much more a step."""
        return Speed(self.mean + seconds, self.error)


@dataclass(frozen=True)
class Estimate:
    """What a run will take, read from steps that were really made and then undone."""

    seconds: float  # class pictures, training and samples; not the loading of the base
    plus_minus: float  # share of the seconds
    train_seconds: float  # with what the base is asked ahead of the steps, for its own predictions
    class_seconds: float  # drawing the class pictures, where none of them is in the cache
    peak_memory_bytes: int
    artifact_bytes: int

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return {k: round(v, 3) for k, v in asdict(self).items()}


def estimate(state: PlanState, precision: str) -> Estimate:
    """Make a few real steps of every stage and take them back; plan and base are left as they were.

    For a plan of which no step is made yet.
    """
    stages = [stage.method.config for stage in state.plan]
    pictures = [c.class_pictures for c in stages if c.prior_weight > 0 and c.prior == "pictures"]
    device = device_of(state.model)
    drawing = seconds_per_picture(state.model)
    speeds, artefact = _rehearse(state, precision)
    train = sum(c.steps * speed.mean for c, speed in zip(stages, speeds, strict=True))
    error = math.hypot(*(c.steps * speed.error for c, speed in zip(stages, speeds, strict=True)))
    classes = max(pictures, default=0) * drawing
    total = train + classes + len(CONTEXTS) * drawing
    return Estimate(total, max(LEAST, 2 * error / total), train, classes, peak_memory(str(device)), artefact)


def seconds_per_picture(model: Family, steps: float = STEPS, *, pictures: int = len(CONTEXTS)) -> float:
    """Of so many, from two drawings of a few denoising steps: what no step takes is paid once for all at a time.

    One before them is thrown away: a process's first takes far longer.
    """
    count = drawn_at_once(model, pictures)

    def timed(steps: int) -> float:
        began = time.perf_counter()
        draw(model, ["a photo"] * count, [*range(count)], steps=steps)
        return (time.perf_counter() - began) / count

    timed(FEW)
    few, more = timed(FEW), timed(MORE)
    return few + max(0.0, more - few) / (MORE - FEW) * (steps - FEW)


def _rehearse(state: PlanState, precision: str) -> tuple[list[Speed], int]:
    """Speeds and bytes of the artefact. What the photos show does not change how long a step takes."""
    model, autocast = state.model, setup.autocast_type(precision)
    speeds: list[Speed] = []
    untouched = untouched_for(state, autocast)
    try:
        for stage in state.plan:
            update = state.open()
            source, ahead = rehearsed(state, Stand(model, stage), untouched, WARM + MEASURED)
            how: dict[str, Any] = {"seed": state.seed, "autocast": autocast}
            steps = training_steps(model, source, update, start=0, stop=WARM + MEASURED, **how)
            speeds.append(Speed.of([step.seconds for step in steps][WARM:]).and_always(ahead))
            state.close()
        artefact = state.trained_bytes
        if artefact <= WRITTEN:
            with tempfile.TemporaryDirectory() as folder:
                for stage in state.plan:
                    stage.method.write(model, Path(folder))
                artefact = size_of(Path(folder))
    finally:
        state.detach()
    return speeds, artefact


class Stand:
    """A BatchSource of noise in the photos' shape, for steps of which only the cost is of interest."""

    def __init__(self, model: Family, stage: Stage) -> None:
        config = stage.method.config
        device = device_of(model)
        self.batch_size = config.batch_size
        self.rows = config.batch_size * (2 if config.prior_weight > 0 else 1)
        self._prompt = stage.method.prompts()[0]
        side = model.resolution
        with torch.no_grad():
            self._like = model.encode(torch.zeros(1, 3, side, side, device=device)).mean
        control_image = torch.zeros(self.rows, 3, side, side, device=device)
        self._control = control_image if stage.method.follows_control else None

    def __call__(self, rng: Rng) -> Batch:
        latents = rng.normal("photos", self._like.expand(self.rows, -1, -1, -1))
        weight = torch.full((self.rows,), 1 / self.rows, device=latents.device)
        return Batch([self._prompt] * self.rows, latents, weight, self._control)


def untouched_for(state: PlanState, autocast: torch.dtype | None) -> Untouched | None:
    """The bare base, to be asked for its own predictions at what stands in for photos; None where no stage does so."""
    if not any(stage.method.config.asks_base for stage in state.plan):
        return None
    return Untouched(state.model, [stage.method.prompts()[0] for stage in state.plan], autocast)


def rehearsed(
    state: PlanState, stand: Stand, untouched: Untouched | None, steps: int
) -> tuple[Stand | OwnPredictions, float]:
    """What so many steps of the stage that is attached learn from, and the seconds a step that are spent ahead of it.

    What these steps would ask ahead is asked here.
    """
    config = state.stage.method.config
    if untouched is None or not config.asks_base:
        return stand, 0.0
    untouched.leave(state.trained())
    source = OwnPredictions(stand, untouched, noising_of(state.model, config))
    reading, asking, asked = 0.0, 0.0, 0
    while rngs := source.due(Rng(state.seed, asked), steps, config.accumulate):
        times = [time.perf_counter()]

        def timed(rngs: Sequence[Rng] = rngs, times: list[float] = times) -> Iterator[Rng]:
            for rng in rngs:
                times.append(time.perf_counter())
                yield rng

        source.ask(timed())
        reading, asking = max(reading, times[1] - times[0]), asking + time.perf_counter() - times[1]
        asked = rngs[-1].step + 1
    share = math.ceil(config.steps / source.steps_ahead(config.accumulate)) / config.steps
    return source, reading * share + asking / max(1, asked)


class StageEstimate:
    """Says after the first real steps of a stage how long it will take, and at its end how well that was kept."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._estimated = 0.0

    def note(self, stage: str, seconds: float, left: int, reporter: Reporter) -> None:
        """Take note of a step, with as many `left`; now and then there is something to tell."""
        self._seconds.append(seconds)
        taken = len(self._seconds)
        if taken == TOLD and taken + left >= WORTH:
            speed = Speed.of(self._seconds[WARM:])
            self._estimated = math.fsum(self._seconds) + left * speed.mean
            share = max(LEAST, 2 * speed.error / speed.mean)
            told = f"{taken + left} steps of {stage} will take {duration(self._estimated)} ± {share:.0%}."
            reporter.emit("estimate", text=told, stage=stage, seconds=self._estimated, plus_minus=share)
        if left == 0:
            self._settle(stage, reporter)

    def _settle(self, stage: str, reporter: Reporter) -> None:
        """How the stage's time compares with what was said, if anything was."""
        took, estimated = math.fsum(self._seconds), self._estimated
        self._seconds, self._estimated = [], 0.0
        if estimated:
            reporter.say(f"{stage} took {duration(took)}, {took / estimated - 1:+.0%} against the estimate.")
