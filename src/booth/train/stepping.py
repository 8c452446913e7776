"""The steps of a training, from checkpoint to checkpoint; before them `booth.train.preparation` decides."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from booth.core.errors import BoothError, Cancelled, Interrupted, NotFiniteError
from booth.train.callbacks import Callbacks
from booth.train.checkpoints import Checkpoint, size_of_tensors
from booth.train.description import configuration
from booth.train.folders import PREVIEWS
from booth.train.identity import identity, require_same
from booth.train.ladder import Ladder
from booth.train.longer import Ended, is_longer
from booth.train.loop import Step, training_steps
from booth.train.preparation import Prepared
from booth.train.recovery import SKIPS, Recovery
from booth.train.saving import Sharers
from booth.train.timing import device_memory


class Stepping(Prepared):
    """A training that is iterated over; what else is asked of one is in `booth.train.trainer`."""

    _steps: Iterator[Step] | None = None  # of the current stage
    _is_done = False  # whether the current stage ends before its steps do
    _stopped_at: int | None = None  # the last stage's last step, where its caller ended it early
    _between_steps = False  # whether weights and optimiser are of the very step that is counted
    _ended: Ended | None = None  # the run with fewer steps that this one goes on from
    _moving = False  # whether it is being taken to a checkpoint, and its state is of no step
    gradients: Callable[..., list[Tensor]] | None = None  # makes those of a step, where not this run alone does
    _unread: list[Step]  # steps of which nothing was told yet, because their device may be at work on them

    def start(self) -> None:
        """Go to where the last good checkpoint is. The first step does so too; here it can be told apart."""
        if self._started or self.finished is not None:
            return
        with self._working():
            checkpoint = self._to_go_on_from()
            if checkpoint is not None:
                self.clock.load_state(checkpoint.values["clock"])
            elif self.config.resume and self._ended is None:
                self._reporter.say("There is no checkpoint to go on from; training starts from the beginning.")
            same = checkpoint is not None and checkpoint.values["identity"] == identity(self.known)
            if self._folder is not None and not (same and self._folder.is_frozen):
                self._folder.freeze(configuration(self))
            self._start_from(checkpoint)

    def _to_go_on_from(self) -> Checkpoint | None:
        """The checkpoint to start at. UsageError where it is of another run; with more steps a run stays the same."""
        stages, now = len(self.plan), identity(self.known)
        checkpoint = self._saving.latest()
        if checkpoint is not None:
            was = checkpoint.values["identity"]
            if not is_longer(was, now):
                require_same(was, now, str(self._folder.path if self._folder else ""))
            elif checkpoint.values["stage"] == stages:
                self._ended = Ended.at_end(checkpoint, stages, was["steps"])
        elif self.former is not None:
            self._ended = Ended.concept(self.former, self.model, stages)
        if self._ended is None:
            return checkpoint
        self._reporter.say(self._ended.told(self.plan[-1].method.config.steps))
        if self._ended.checkpoint is None:
            self.plan_state.start = self._ended.tensors
        return self._ended.checkpoint

    def _start_from(self, checkpoint: Checkpoint | None) -> None:
        self._recovery, self.ladder = Recovery(), Ladder(self._reporter)
        self.gradients = self.gradients or self.ladder
        self._losses: list[float | None] = []  # of each step of the plan; None where it was not finite
        self._unread = []
        if checkpoint is not None:
            self._recovery.load_state(checkpoint.values["recovery"])
            self.ladder.load_state(checkpoint.values.get("memory", self.ladder.state()))
            self._stopped_at = checkpoint.values.get("stopped_at")
        kept = self._folder.path if self._folder else Path(self._exits.enter_context(tempfile.TemporaryDirectory()))
        images = [p.image for p in self.photos[0].photos]
        about = (self.config, self.model, self.method.subject, images, self._scenes, kept / PREVIEWS, self.clock)
        self._callbacks = Callbacks(*about, self._reporter)
        self._go_to(checkpoint)
        stages = [{"name": s.name, "method": s.method.name, "steps": s.method.config.steps} for s in self.plan]
        self._reporter.begin("training", self.plan_state.done, self.plan_state.total)
        self._reporter.emit("plan", stages=stages)
        self._started = True

    def share_checkpoints(
        self, shared: Callable[[Checkpoint | None], Checkpoint | None], team: Sharers | None = None
    ) -> None:
        """Go on from what `shared` makes of this process's newest checkpoint; before the start.

        A `team` holds together what is saved.
        """
        self._saving.shared, self._saving.team = shared, team

    @property
    def has_begun(self) -> bool:
        """Whether it is where its first step begins, or beyond."""
        return self._started or self.finished is not None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Step:
        with self._working():
            self.start()
            try:
                step = self._next_step() if self.finished is None else None
            except Cancelled as error:
                raise self._saved_before(error) from error
            except BaseException:
                if self._between_steps and self._saving.alone:
                    with suppress(BoothError, OSError):  # there may be no room for it either
                        self._save()
                raise
        if step is None:
            raise StopIteration
        return step

    def _next_step(self) -> Step | None:
        """The next step of the plan and all that follows it, such as previews; None when there is none."""
        state = self.plan_state
        while state.index < len(self.plan):
            try:
                step = self._step_of_stage()
                if step is not None:
                    return step
                state.close()
                self._steps, self._is_done = None, False
                if state.index < len(self.plan) or not self._ending.keeps_checkpoints:
                    self._save_if_due(boundary=True)
            except NotFiniteError as error:
                self._go_back(error)
        self.cancel.check()  # what came since the last step
        return None

    def _step_of_stage(self) -> Step | None:
        """One more step of the current stage. NotFiniteError says that the run has to go back."""
        state = self.plan_state
        update, steps = state.open(), self._steps or self._open()
        step = None if self._is_done else self._made(steps)
        if step is None:
            return None
        self._between_steps = True
        total = state.stage.method.config.steps
        state.step = step.index
        self._reporter.done = state.done
        self._unread.append(step)
        may_wait = self._ahead and step.index < total and not self._callbacks.look_after(state)
        self._read_steps(but=1 if may_wait else 0)
        if self._recovery.must_return:
            raise NotFiniteError(
                f"The loss or gradient was not finite {SKIPS + 1} times in a row.",
                code="loss.not_finite",
                field="settings.learning_rate",
            )
        self.cancel.check()
        self._is_done = self._callbacks.is_done(state, update)
        if step.index < total:
            self._save_if_due()
        elif state.is_last and self._ending.keeps_checkpoints:
            self._save()  # with the optimiser's state, so that the finished run can go on
        self._callbacks.preview(state, update)
        self._free()  # again, if it was read for drawing
        self._between_steps = False
        return step

    def _made(self, steps: Iterator[Step]) -> Step | None:
        """The next step, after what is asked of the base ahead of it, during which a checkpoint can be saved."""
        self._between_steps = self.plan_state.step > 0
        self.stage_data.ask_ahead(self.ladder)
        self._between_steps = False
        return next(steps, None)

    @property
    def _ahead(self) -> bool:
        """Whether the next step is asked for before it is known what the last one found: a GPU need not wait then."""
        return self.device.startswith("cuda")

    def _read_steps(self, but: int = 0) -> None:
        """Take note of the steps that were made, but for the latest ones, and tell of them."""
        state = self.plan_state
        while len(self._unread) > but:
            step = self._unread.pop(0)
            self._losses.append(step.loss if math.isfinite(step.loss) else None)
            self.clock.add("train", step.seconds)
            self._recovery.note(step, state.open().loss_scale)
            total = state.stage.method.config.steps
            told = step.to_json() | device_memory(self.device)
            self._reporter.emit("step", "debug", stage=state.stage.name, total=total, **told)
            self._callbacks.after(step, state, self.stage_data.seconds_ahead)

    def _open(self) -> Iterator[Step]:
        """The current stage's steps, from where it is."""
        state, stage = self.plan_state, self.plan_state.stage
        update = state.open()
        update.rate_scale = self._recovery.rate_scale(stage.name)
        best = size_of_tensors(update.parameters()) if self._callbacks.selection else 0
        self._saving.require_space(state, update, best)
        batches = self.stage_data.batches(state.index)
        self._is_done = self._callbacks.is_done(state, update)
        self._free()
        where: dict[str, Any] = {"seed": state.seed, "start": state.step, "stop": stage.method.config.steps}
        how: dict[str, Any] = {"autocast": self._autocast, "ahead": self._ahead, "gradients": self.gradients}
        self._steps = training_steps(self.model, batches, update, **where, **how)
        return self._steps

    def _free(self) -> None:
        """By the plan, let go of what the stage's steps do not need."""
        if self.memory.chosen.frees:
            self.stage_data.free(self.plan_state.index)

    def _go_back(self, error: NotFiniteError) -> None:
        """Return to the last good checkpoint, or to the start, with half the learning rate for this stage."""
        checkpoint = self._saving.latest()
        done = checkpoint.done if checkpoint else 0
        record = self._recovery.go_back(self.plan_state.stage.name, self.plan_state.step, done, error)
        told = (
            f"{error} Going back from step {record.step} of {record.stage} to the checkpoint after {done} steps, with "
            f"{record.rate_scale:g} of the learning rate."
        )
        self._reporter.emit("recovery", "warning", text=told, **record.model_dump())
        self._go_to(checkpoint)
        self._reporter.begin("training", self.plan_state.done, self.plan_state.total)

    def _go_to(self, checkpoint: Checkpoint | None) -> None:
        self._moving = True
        self._steps, self._is_done, self._unread = None, False, []
        self.plan_state.detach()  # what is asked of the base is asked of the bare one
        ended = self._ended if checkpoint is None else None
        stage = checkpoint.values["stage"] if checkpoint else len(self.plan) - 1 if ended else 0
        self.stage_data.prepare(stage)
        if ended is None:
            self.plan_state.take_up(checkpoint)
        else:
            self.plan_state.go_on(ended.steps)
        self._losses = list(checkpoint.values["history"]) if checkpoint else [None] * (ended.total if ended else 0)
        saved = checkpoint is not None and checkpoint is not (self._ended and self._ended.checkpoint)
        self._saving.newest = (self.plan_state.index, self.plan_state.step) if saved else None
        self._callbacks.take_up(checkpoint)
        self._moving = False

    def _save_if_due(self, boundary: bool = False) -> None:
        if self._saving.is_due(self.plan_state, boundary):
            self._save()

    def _save(self) -> None:
        """Save a checkpoint, unless the newest one is already of this very step."""
        if self._saving.newest != (self.plan_state.index, self.plan_state.step):
            self._saving.save(self.plan_state, *self._state())

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint holds; the tensors are those that are being trained."""
        self._read_steps()
        tensors, values = self.plan_state.state()
        kept, chosen = self._callbacks.state()
        values |= {
            "identity": identity(self.known),
            "recovery": self._recovery.state(),
            "memory": self.ladder.state(),
            "history": self._losses,
            "clock": self.clock.state(),
            "stopped_at": self._stopped_at,
        }
        return tensors | kept, values | chosen

    def _saved_before(self, error: Cancelled) -> Cancelled:
        """Save, and say where the run can go on.

        Unsaved stays what is not finite, and what was interrupted elsewhere than between two steps: its weights may be
        of another step than the one it is at.
        """
        told = f"The last good checkpoint is kept{'' if self._saving.newest else ', if there is one'}"
        abrupt = isinstance(error, Interrupted) and error.abrupt
        saves = self._folder is not None or not self._saving.alone
        if saves and self._started and not abrupt and not self._moving:
            with suppress(NotFiniteError):
                self._save()
                told = f"A checkpoint is saved after {self.plan_state.done} of {self.plan_state.total} steps"
        told = f"{error} {told}; run the same command with `resume` to go on."
        return Interrupted(told, error.exit_code - 128) if isinstance(error, Interrupted) else Cancelled(told)
