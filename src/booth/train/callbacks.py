"""What happens between steps, beside checkpoints: previews, the quote, and the choice of a checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import Tensor

from booth.config import RunConfig
from booth.core.family import Family
from booth.core.method import Subject
from booth.registry import JUDGES
from booth.train.checkpoints import Checkpoint
from booth.train.estimate import Pledge
from booth.train.folders import PREVIEWS
from booth.train.listener import Listener
from booth.train.loop import Step
from booth.train.plan_state import PlanState
from booth.train.samples import Scenes, draw_samples
from booth.train.selection import Selection
from booth.train.timing import Clock
from booth.train.update import Update

BEST = "best."  # before the names of the best checkpoint's tensors


class Callbacks:
    """Made before anything is attached, because the judge looks at the untouched base first."""

    def __init__(
        self,
        config: RunConfig,
        model: Family,
        subject: Subject,
        images: list[Image],
        scenes: Scenes,
        work: Path,
        clock: Clock,
        to: Listener,
    ) -> None:
        self._config, self._model, self._scenes, self._clock, self._to = config, model, scenes, clock, to
        self.previews = work / PREVIEWS
        self._pledge = Pledge()
        self.selection: Selection | None = None
        if config.until == "done":
            to.on_message("Drawing what the untouched base draws, to compare checkpoints with.")
            began = time.perf_counter()
            judge = JUDGES["checkpoints"](model, subject, images, config.seed)
            self.selection = Selection(judge, time.perf_counter() - began, to.on_message)
            clock.add("scoring", self.selection.cost)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint has to hold of it."""
        if self.selection is None:
            return {}, {}
        kept = {f"{BEST}{name}": tensor for name, tensor in self.selection.weights.items()}
        return kept, {"selection": self.selection.state()}

    def take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go to where a checkpoint was saved, or to the start."""
        if self.selection is None:
            return
        tensors = checkpoint.tensors if checkpoint else {}
        kept = {name.removeprefix(BEST): t for name, t in tensors.items() if name.startswith(BEST)}
        self.selection.load_state(checkpoint.values["selection"] if checkpoint else None, kept)

    def after(self, step: Step, stages: PlanState) -> None:
        """What a step is followed by, before anything is saved or drawn."""
        left = stages.stage.method.config.steps - step.index
        told = self._pledge.note(stages.stage.name, step.seconds, left)
        if told:
            self._to.on_message(told)
        if self.selection is not None and stages.is_last:
            self.selection.note(step.index, step.seconds)

    def is_done(self, stages: PlanState, update: Update) -> bool:
        """Score what is trained if that is due; whether training is to stop here.

        Asked before a stage's first step too: a run may have been stopped between a step and its scoring.
        """
        selection = self.selection
        if selection is None or not stages.is_last:
            return False
        if selection.stopped is None and selection.due(stages.step):
            with self._clock.part("scoring"):
                selection.look(stages.step, update)
        return selection.stopped is not None

    def preview(self, stages: PlanState, update: Update) -> None:
        """Draw with the averaged weights. A preview that cannot be kept is no reason to stop."""
        done = stages.done
        if self._config.previews == 0 or done % self._config.previews:
            return
        try:
            with self._clock.part("previews"), update.averaged():
                files = draw_samples(self._model, self._scenes, self._config.seed, self.previews / f"{done:06d}")
        except OSError as error:
            self._to.on_message(f"The preview after {done} steps could not be kept: {error}.")
            return
        self._to.on_preview(files, done)
