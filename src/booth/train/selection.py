"""When is it done, and which checkpoint? Scored between steps; the best one is kept, and a standstill ends the run."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from booth.core.json_values import Json
from booth.core.statistics import difference
from booth.events import Reporter
from booth.train.plan_state import PlanState
from booth.train.update import Update

SHARE = 0.15  # of the run's time that scoring may cost
WARM = 10  # steps by which the speed of training is known
PATIENCE = 3  # scorings in a row without a gain beyond the bootstrap error
WHY = "the highest mean over prompts of subject x prompt x original x class, the first of equals"
CAP = 3  # times the method's own steps that training goes on at most, unless steps are given


@dataclass(frozen=True)
class Marks:
    """What a scoring found. Every score is in 0..1 and higher is better."""

    scores: dict[str, float]
    units: list[float]  # all scores together, prompt by prompt


class Judge(Protocol):
    """Scores what the model draws as it is now."""

    def score(self) -> Marks:
        """Draw the few fixed prompts and compare with the untouched base."""
        ...

    def about(self) -> dict[str, Json]:
        """What stands beside the scores: encoders, prompts."""
        ...


@dataclass(frozen=True)
class Scored:
    """One scored checkpoint of the last stage."""

    step: int
    scores: dict[str, float]
    units: list[float]

    @property
    def overall(self) -> float:
        """The mean over prompts; it rises with every score, so that its highest lies on the Pareto front."""
        return math.fsum(self.units) / len(self.units)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"step": self.step, "overall": round(self.overall, 4), "scores": _rounded(self.scores)}


class Selection:
    """The scored checkpoints of one run.

    How far they lie apart is decided once, from the cost of a scoring and the speed of training, and is kept with the
    checkpoints, so that a resumed run scores at the same steps. Scoring n is not before step (n + 1) x interval: with
    the scoring of the untouched base, all of them never take more than 15 % of the time so far.
    """

    def __init__(self, judge: Judge, cost: float, reporter: Reporter) -> None:
        self.judge = judge
        self.cost = cost  # seconds of a scoring, as that of the base took
        self.seconds = 0.0
        self.scored: list[Scored] = []
        self.interval: int | None = None
        self.stopped: int | None = None  # the step at which it was found done
        self.weights: dict[str, Tensor] = {}  # of the best, on the CPU
        self._reporter = reporter
        self._trained = 0.0

    def note(self, step: int, seconds: float) -> None:
        """Take note of a step's time, until the interval is decided."""
        self._trained += seconds
        if self.interval is None and step >= WARM:
            self.interval = max(WARM, math.ceil(self.cost * (1 / SHARE - 1) / (self._trained / step)))

    def due(self, step: int) -> bool:
        """Whether the weights after `step` steps are to be scored now."""
        if self.interval is None or any(s.step >= step for s in self.scored):
            return False
        return step >= (len(self.scored) + 2) * self.interval

    def look(self, step: int, update: Update) -> bool:
        """Score the weights, averaged if there is an average; keep them if they are the best; whether to stop."""
        began = time.perf_counter()
        with update.averaged():
            marks = self.judge.score()
            self.scored.append(Scored(step, marks.scores, marks.units))
            if self.best.step == step:
                self.weights = {n: p.detach().cpu().clone() for n, p in update.parameters().items()}
        self.seconds += time.perf_counter() - began
        told, best = ", ".join(f"{name} {value:.2f}" for name, value in marks.scores.items()), self.best.step == step
        self._reporter.emit(
            "score",
            text=f"Scored after {step} steps: {told}{'; the best so far' if best else ''}.",
            **self.scored[-1].to_json(),
            best=best,
        )
        if self._is_done():
            self.stopped = step
            self._reporter.say(
                f"Done after {step} steps: {PATIENCE} scorings in a row gained nothing beyond their error."
            )
        return self.stopped is not None

    @property
    def best(self) -> Scored:
        """The best on the Pareto front; of equals the first."""
        return max(self.scored, key=lambda s: s.overall)

    def restore(self, stages: PlanState) -> None:
        """Give the finished last stage the weights of the best checkpoint."""
        if not self.scored:
            told = "The run was too short to score its checkpoints; its last weights are kept."
            self._reporter.emit("choice", text=told, step=None, scored=[])
            return
        stages.adopt(self.weights)
        told = f"Of {len(self.scored)} scored checkpoints the one after {self.best.step} steps is kept."
        self._reporter.emit("choice", text=told, reason=WHY, **(self.record() or {}))

    def state(self) -> dict[str, Json]:
        """Plain values for a checkpoint."""
        told = {"interval": self.interval, "stopped": self.stopped, "trained": self._trained, "seconds": self.seconds}
        return {**told, "cost": self.cost, "scored": [asdict(s) for s in self.scored]}

    def load_state(self, values: dict[str, Any] | None, weights: dict[str, Tensor]) -> None:
        """Take over what `state` returned and the weights of the best, or start anew."""
        self.weights = weights
        values = values or {"interval": None, "stopped": None, "trained": 0.0, "seconds": 0.0, "cost": self.cost}
        self.interval, self.stopped, self.cost = values["interval"], values["stopped"], values["cost"]
        self._trained, self.seconds = values["trained"], values["seconds"]
        self.scored = [Scored(**s) for s in values.get("scored", [])]

    def record(self) -> dict[str, Any] | None:
        """What the concept says about it."""
        if not self.scored:
            return None
        marked = [{"step": s.step, "overall": round(s.overall, 4), **_rounded(s.scores)} for s in self.scored]
        told = {"step": self.best.step, "stopped": self.stopped, "scored": marked, "seconds": round(self.seconds, 1)}
        return told | self.judge.about()

    def _is_done(self) -> bool:
        """Something was learned for sure, and for a while nothing was gained for sure.

        Each scoring is compared with the last one that was a sure gain, so that small gains add up.
        """
        anchor, since = [0.0] * len(self.scored[0].units), 0
        learned = False
        for s in self.scored:
            since += 1
            if difference(s.units, anchor).low > 0:
                anchor, since, learned = s.units, 0, True
        return learned and since >= PATIENCE


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
