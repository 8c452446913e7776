"""When a run's checkpoints are written, and of which step the newest one is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from booth.choices import optimizer_of
from booth.events import Reporter
from booth.train.checkpoints import KEEP, Checkpoint, Checkpoints, Pace, size_of_tensors
from booth.train.plan_state import PlanState
from booth.train.timing import Clock
from booth.train.update import Update


class Sharers(Protocol):
    """Processes of one run, which save together, so that all go back where one finds what is not to be saved."""

    @property
    def alone(self) -> bool:
        """Whether the first of them holds all that is saved, and can save by itself."""
        ...

    def agree(self, due: bool) -> bool:
        """What the first of them finds, in all."""
        ...

    def collect(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors, in the first of them."""
        ...


class Saving:
    """The checkpoints of one run. Without a folder nothing is ever saved."""

    def __init__(
        self, folder: Path | None, every: int | None, clock: Clock, reporter: Reporter, keep: int = KEEP
    ) -> None:
        self.newest: tuple[int, int] | None = None  # stage and step of the newest checkpoint
        self._clock, self._reporter = clock, reporter
        self.shared: Callable[[Checkpoint | None], Checkpoint | None] = lambda found: found
        self.team: Sharers | None = None  # where other processes do their share of the run
        self._every = every
        self._pace = Pace(every)
        self._size = 0
        self._checkpoints = Checkpoints(folder, reporter.warn, keep) if folder is not None else None

    def latest(self) -> Checkpoint | None:
        """The newest good checkpoint, if there is one; of a run by several processes the first one's."""
        found = self._checkpoints.latest() if self._checkpoints is not None else None
        return self.shared(found)

    @property
    def alone(self) -> bool:
        """Whether this process can save by itself, whatever becomes of others."""
        return self.team is None or self.team.alone

    def require_space(self, state: PlanState, update: Update, more: int) -> None:
        """DiskFullError unless a stage's checkpoints, with `more` bytes in each, and the concept fit on the disk."""
        if self._checkpoints is None:
            return
        kept = optimizer_of(update.config).state_bytes * sum(p.numel() for p in update.parameters().values())
        trained = size_of_tensors(update.parameters())
        self._size = size_of_tensors(state.state()[0]) + (0 if state.step else kept) + more
        self._checkpoints.require_space(self._size, self._every, state.trained_bytes + trained)

    def is_due(self, state: PlanState, boundary: bool = False) -> bool:
        """Whether to save now, or at the end of a stage, which is a `boundary`."""
        due = self._checkpoints is not None and self._pace.due(state.done, self._size, boundary)
        return due if self.team is None else self.team.agree(due)

    def save(self, state: PlanState, tensors: Mapping[str, Tensor], values: Mapping[str, object]) -> None:
        """Save, unless the newest checkpoint is of this very step."""
        if self.newest == (state.index, state.step):
            return
        began = time.perf_counter()
        if self.team is not None:
            tensors = self.team.collect(tensors)
        if self._checkpoints is None:
            self.newest = (state.index, state.step) if self.team is not None else None
            return
        folder = self._checkpoints.save(state.done, tensors, values)
        self.newest = (state.index, state.step)
        seconds = time.perf_counter() - began
        self._clock.add("checkpoint", seconds)
        self._pace.spent(size_of_tensors(tensors), seconds)
        place = folder.relative_to(self._checkpoints.folder.parent)
        self._reporter.emit("checkpoint", "debug", folder=place.as_posix(), step=state.done, seconds=seconds)
