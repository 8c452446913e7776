"""One training, step by step; everything that is decided before the first step is in `booth.train.preparation`."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from booth.concept import Concept
from booth.core.errors import BoothError, Cancelled, DiskFullError, Interrupted, NotFiniteError, UsageError
from booth.core.places import free_file
from booth.train.callbacks import Callbacks
from booth.train.checkpoints import Checkpoint, size_of_tensors
from booth.train.description import configuration
from booth.train.estimate import Estimate, estimate
from booth.train.folders import PREVIEWS
from booth.train.identity import identity, require_same
from booth.train.ladder import Ladder
from booth.train.longer import Ended, is_longer
from booth.train.loop import Step, training_steps
from booth.train.noise_levels import loss_by_noise_level
from booth.train.preparation import Prepared
from booth.train.record import write_concept
from booth.train.recovery import SKIPS, Recovery
from booth.train.timing import device_memory


class Trainer(Prepared):
    """`for step in Trainer(config): ...`, then `finish()`. To stop is to stop iterating; to iterate again goes on.

    Made, it has read the photos, loaded the base (or borrowed it from a `session`) and checked what can be checked;
    `plan` is what it is going to do. It is a context manager, and closed it has put the base back as it was. Whoever
    stops early finds a checkpoint; `resume=True` goes on from there. With `keep=False` nothing is written at all, and
    `state()` is the only way to keep what was learned.

    `photos` take the place of those that the configuration names: a set for each subject. Encoded ones are kept in the
    folder `latents` or, without one, among those of all runs. Or `batches` deal the rows themselves. Raises every
    BoothError; Cancelled when `cancel` is set, which is looked at between pictures, steps and scorings.
    """

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

    def share_checkpoints(self, shared: Callable[[Checkpoint | None], Checkpoint | None]) -> None:
        """Go on from what `shared` makes of this process's newest checkpoint; before the start."""
        self._saving.shared = shared

    @property
    def has_begun(self) -> bool:
        """Whether it is where its first step begins, or beyond."""
        return self._started or self.finished is not None

    def __iter__(self) -> Trainer:
        return self

    def __next__(self) -> Step:
        with self._working():
            self.start()
            try:
                step = self._next_step() if self.finished is None else None
            except Cancelled as error:
                raise self._saved_before(error) from error
            except BaseException:
                if self._between_steps:
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
        step = None if self._is_done else next(steps, None)
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
            self._callbacks.after(step, state)

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
            self.stage_data.free(self.plan_state.index, self._autocast)

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
        begin = (len(self.plan) - 1, ended.steps) if ended else (0, 0)
        stage, step = (checkpoint.values["stage"], checkpoint.values["step"]) if checkpoint else begin
        self.stage_data.prepare(stage, step, self._autocast)
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

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Copies of all tensors and the plain values that `load_state` goes on from, here or in another process."""
        self.start()
        tensors, values = self._state()
        return {name: t.detach().cpu().clone() for name, t in tensors.items()}, copy.deepcopy(values)

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go to where `state` was asked for; UsageError if that was another run."""
        require_same(values["identity"], identity(self.known), "This state")
        self.start()
        with self._working():
            self._recovery.load_state(values["recovery"])
            self._go_to(Checkpoint(self.out, self.plan_state.done, tensors, copy.deepcopy(values)))
            self._saving.newest = None  # it lies on no disk
            self._reporter.begin("training", self.plan_state.done, self.plan_state.total)

    def estimate(self) -> Estimate:
        """What the run will cost, from a few real steps that are taken back; before the first step only."""
        if self._started:
            raise UsageError(
                "Ask for an estimate before the first step: what is learned already would be in its way.",
                code="trainer.estimate_late",
            )
        with self._working():
            return estimate(self.plan_state, self.precision)

    def save(self) -> None:
        """Save a checkpoint now, unless there is one of this very step."""
        with self._working():
            self.start()
            self._save()

    def loss_by_noise_level(self, levels: int = 10, draws: int = 4) -> list[tuple[float, float]]:
        """(level, loss) of the present stage on its photos, from little noise to much; told as an event too."""
        with self._working():
            self.start()
            state = self.plan_state
            if state.index == len(self.plan):
                raise UsageError(
                    "Every stage is finished, and what has a loss is the stage that is being taught.",
                    "Ask between its steps.",
                    code="trainer.no_stage",
                )
            config = state.stage.method.config
            state.open()
            batches = self.stage_data.photo_batches(state.index)
            how: dict[str, Any] = {"levels": levels, "draws": draws, "autocast": self._autocast}
            with self.averaged():
                found = loss_by_noise_level(self.model, batches, config, state.seed, **how)
            places, losses = zip(*found, strict=True)
            self._reporter.emit("noise_levels", "debug", step=state.done, levels=places, losses=losses)
            return found

    def averaged(self) -> AbstractContextManager[None]:
        """Within this context what is trained holds its moving average, if there is one."""
        update = self.plan_state.update
        return nullcontext() if update is None else update.averaged()

    def preview(self) -> list[Image.Image]:
        """Draw the subject as it is now, with averaged weights if they are averaged; kept among the run's previews."""
        with self._working():
            self.start()
            files = self._callbacks.draw(self.plan_state.done, self.plan_state.update)
            return [Image.open(file).convert("RGB") for file in files]

    def finish(self) -> Concept:
        """Write the concept and close; whatever goes wrong, the trained weights are kept.

        Within the last stage it may be called at any step. UsageError before.
        """
        if self.finished is None:
            self._require_last_stage()
            with self._working():
                self._reporter.say(f"Writing the concept {self.out}.")
                try:
                    self._end_last_stage()
                    self.finished = self._write()
                except Cancelled as error:
                    raise self._saved_before(error) from error
                except BaseException:
                    with suppress(DiskFullError):  # a checkpoint may fit where the concept does not, or be there
                        self._save()
                    raise
        self._ending.done(self.finished)
        return self.finished

    def _require_last_stage(self) -> None:
        self.start()
        if self._folder is None:
            raise UsageError(
                "Nothing is kept of this training, so it has no concept to write.",
                "Train with keep=True.",
                code="trainer.not_kept",
            )
        state = self.plan_state
        if state.index < len(self.plan) and (not state.is_last or state.step == 0):
            raise UsageError(
                f"A concept needs every stage of the plan, and {state.stage.name} is not trained yet.",
                "Iterate on, or close() and go on later with resume=True.",
                code="trainer.unfinished",
            )

    def _end_last_stage(self) -> None:
        state = self.plan_state
        if state.index < len(self.plan):
            self._read_steps()
            self._stopped_at = state.step if state.step < state.stage.method.config.steps else None
            state.close()

    def _write(self) -> Concept:
        selection = self._callbacks.selection
        if selection is not None:
            selection.restore(self.plan_state)
        self._reporter.begin("writing", 0, len(self._samples.prompts))
        return write_concept(
            self.out,
            self.model,
            self.plan,
            self.clock,
            self._reporter,
            name=self.out.name,
            device=self.device,
            history=self._losses,
            previews=self._callbacks.previews,
            scenes=self._samples,
            stopped=self._stopped_at or (selection.stopped if selection else None),
            selection=selection.record() if selection else None,
            needed=self.plan_state.trained_bytes,
            skipped_steps=self._recovery.skipped,
            recoveries=self._recovery.returns,
            keep=self._ending.keep,
            aside=self._aside(),
            **self.known,
        )

    def _aside(self) -> Path | None:
        """Where the concept goes whose place a run with more steps takes: nothing that was made is lost."""
        if self.former is None:
            return None
        place = free_file(self.out.with_name(f"{self.out.name}-{self.former.record.steps}-steps"))
        self._reporter.say(f"The concept of {self.former.record.steps} steps is kept as {place}.")
        return place

    def close(self) -> None:
        """Put the base back as it was. Of a run that was not finished a checkpoint is saved."""
        state = self.plan_state if self._started else None
        if state is not None and state.done and self.finished is None and not self._ending.over:
            with suppress(NotFiniteError, DiskFullError):
                self._save()
            self._ending.paused(f"Stopped after {state.done} of {state.total} steps.")
        self._ending.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _saved_before(self, error: Cancelled) -> Cancelled:
        """Save, and say where the run can go on.

        Unsaved stays what is not finite, and what was interrupted elsewhere than between two steps: its weights may be
        of another step than the one it is at.
        """
        told = f"The last good checkpoint is kept{'' if self._saving.newest else ', if there is one'}"
        abrupt = isinstance(error, Interrupted) and error.abrupt
        if self._folder is not None and self._started and not abrupt and not self._moving:
            with suppress(NotFiniteError):
                self._save()
                told = f"A checkpoint is saved after {self.plan_state.done} of {self.plan_state.total} steps"
        told = f"{error} {told}; run the same command with `resume` to go on."
        return Interrupted(told, error.exit_code - 128) if isinstance(error, Interrupted) else Cancelled(told)
