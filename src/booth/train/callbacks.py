"""What happens between steps, beside checkpoints: previews, the estimate, and the choice of a checkpoint."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from booth.config import RunConfig
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.events import Reporter
from booth.registry import JUDGES
from booth.train.checkpoints import Checkpoint
from booth.train.estimate import StageEstimate
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
        previews: Path,
        clock: Clock,
        reporter: Reporter,
    ) -> None:
        self._config, self._model, self._scenes, self._clock = config, model, scenes, clock
        self.previews = previews
        self._reporter = reporter
        self._stage_estimate = StageEstimate()
        self.selection: Selection | None = None
        if config.until == "done":
            reporter.say("Drawing what the untouched base draws, to compare checkpoints with.")
            began = time.perf_counter()
            with reporter.within("scoring"):
                judge = JUDGES["checkpoints"](model, subject, images, config.seed)
            self.selection = Selection(judge, time.perf_counter() - began, reporter)
            clock.add("scoring", self.selection.cost)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Json]]:
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

    def after(self, step: Step, stages: PlanState, ahead: float) -> None:
        """What a step is followed by, before anything is saved or drawn; `ahead` are the seconds spent ahead of it."""
        left = stages.stage.method.config.steps - step.index
        self._stage_estimate.note(stages.stage.name, step.seconds + ahead, left, self._reporter)
        if self.selection is not None and stages.is_last:
            self.selection.note(step.index, step.seconds)

    def look_after(self, stages: PlanState) -> bool:
        """Whether what the present step found is looked at before the next one: by a scoring or a preview."""
        scored = self.selection is not None and stages.is_last
        return scored or bool(self._config.previews and stages.done % self._config.previews == 0)

    def is_done(self, stages: PlanState, update: Update) -> bool:
        """Score what is trained if that is due; whether training is to stop here.

        Asked before a stage's first step too: a run may have been stopped between a step and its scoring.
        """
        selection = self.selection
        if selection is None or not stages.is_last:
            return False
        if selection.stopped is None and selection.due(stages.step):
            with self._clock.part("scoring"), self._reporter.within("scoring"):
                selection.look(stages.step, update)
        return selection.stopped is not None

    def preview(self, stages: PlanState, update: Update) -> None:
        """Draw if a preview is due. One that cannot be kept is no reason to stop."""
        done = stages.done
        if self._config.previews == 0 or done % self._config.previews:
            return
        try:
            self.draw(done, update)
        except OSError as error:
            self._reporter.warn(f"The preview after {done} steps could not be kept: {error}.")

    def draw(self, done: int, update: Update | None) -> list[Path]:
        """Draw with the averaged weights, if there is an average, into the run's folder."""
        scenes = self._scenes
        folder = self.previews / f"{done:06d}"
        averaged = nullcontext() if update is None else update.averaged()
        with self._clock.part("previews"), self._reporter.within("preview", len(scenes.prompts)), averaged:
            files = draw_samples(self._model, scenes, self._config.seed, folder, self._reporter.progress)
        self._reporter.emit(
            "preview",
            text=f"Preview after {done} steps: {folder}",
            step=done,
            files=[file.relative_to(self.previews.parent).as_posix() for file in files],
            prompts=scenes.prompts,
        )
        return files
