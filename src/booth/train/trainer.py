"""One training: what is asked of it beside its steps, which are in `booth.train.stepping`."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from booth.concept import Concept
from booth.core.errors import Cancelled, DiskFullError, NotFiniteError, UsageError
from booth.core.json_values import Json
from booth.core.places import free_file
from booth.train.checkpoints import Checkpoint
from booth.train.estimate import Estimate, estimate
from booth.train.identity import identity, require_same
from booth.train.noise_levels import loss_by_noise_level
from booth.train.record import write_concept
from booth.train.stepping import Stepping


class Trainer(Stepping):
    """`for step in Trainer(config): ...`, then `finish()`. To stop is to stop iterating; to iterate again goes on.

    Made, it has read the photos, loaded the base (or borrowed it from a `session`) and checked what can be checked;
    `plan` is what it is going to do. It is a context manager, and closed it has put the base back as it was. Whoever
    stops early finds a checkpoint; `resume=True` goes on from there. With `keep=False` nothing is written at all, and
    `state()` is the only way to keep what was learned.

    `photos` take the place of those that the configuration names: a set for each subject. Encoded ones are kept in the
    folder `latents` or, without one, among those of all runs. Or `batches` deal the rows themselves. Raises every
    BoothError; Cancelled when `cancel` is set, which is looked at between steps and scorings.
    """

    def state(self) -> tuple[dict[str, Tensor], dict[str, Json]]:
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
                    if self._saving.alone:
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
            if self._saving.alone:
                with suppress(NotFiniteError, DiskFullError):
                    self._save()
            self._ending.paused(f"Stopped after {state.done} of {state.total} steps.")
        self._ending.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
