"""A whole run: photos and a base in, checkpoints on the way, a concept out."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from booth.choices import optimizer_of
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.errors import BoothError, DiskFullError, Interrupted, NotFiniteError
from booth.core.family import Family
from booth.core.method import Stage, Subject
from booth.data.hints import Hints
from booth.data.photos import PhotoSet
from booth.families.loading import base_hash
from booth.train import setup
from booth.train.callbacks import Callbacks
from booth.train.checkpoints import Checkpoint, Checkpoints, Pace, size_of_tensors
from booth.train.folders import CHECKPOINTS, leave, occupied, refuse_to_overwrite
from booth.train.listener import Listener, Silent
from booth.train.loop import training_steps
from booth.train.memory import plan_memory
from booth.train.plan_state import PlanState
from booth.train.record import TrainResult, write_concept
from booth.train.recovery import SKIPS, Recovery
from booth.train.samples import Scenes
from booth.train.signals import Signals
from booth.train.stage_data import StageData
from booth.train.timing import Clock, forget_peak_memory
from booth.train.update import Update

__all__ = ["TrainResult", "train"]


def train(config: RunConfig, *, listener: Listener | None = None, samples: bool = True) -> Concept:
    """Teach the subject in the photos to a base; return the finished concept.

    Without `samples` nothing is drawn at the end; for those who draw what they want to see themselves.

    SIGINT, SIGTERM and SIGHUP save a checkpoint and raise Interrupted, whose exit_code is 130, 143 or 129; whatever
    else fails between two steps, such as a full disk under a preview, leaves a checkpoint too. With `resume` the run
    goes on from its last checkpoint, or returns the concept if it was finished already. Every BoothError may come.
    """
    listener = listener or Silent()
    clock = Clock()
    settings: dict[str, Any] = {}
    with Signals() as signals, setup.advice_on_memory(config, settings):
        subject, photos = setup.load_subjects(config)
        for sentence in (note for each in photos for note in each.notes):
            listener.on_message(sentence)
        config = config.model_copy(update={"token": subject.token, "noun": subject.noun})
        out = config.folder.absolute()
        refuse_to_overwrite(out, config.resume)
        run = Run(config, subject, photos, clock, listener, signals, samples)
        settings.update(run.method.config.model_dump(), memory=run.memory.smaller)
        for sentence in run.advice():
            listener.on_message(f"warning: {sentence}")
        with occupied(out) as work:
            if out.is_dir() and any(out.iterdir()):
                return run.finished(out)
            run.learn(work)
            return run.finish(out, work)


class Run:
    """One training run: everything that is decided before the first step, and then how far it is."""

    def __init__(
        self,
        config: RunConfig,
        subject: Subject,
        photos: list[PhotoSet],
        clock: Clock,
        listener: Listener,
        signals: Signals,
        samples: bool = True,
    ) -> None:
        self.clock = clock
        self.listener = listener
        self.signals = signals
        self.device = setup.choose_device(config.device)
        self.precision = setup.choose_precision(config.precision, self.device)
        forget_peak_memory(self.device)
        self.memory = plan_memory(config, self.device)
        listener.on_message(self.memory.told)
        self.config = config = self.memory.applied(config)
        listener.on_message(f"Loading the base {config.base}.")
        with clock.part("load"):
            self.model: Family = setup.load_base(config, self.device)
            self.base_hash = base_hash(self.model.base)
        self.subject = subject
        self.method = setup.make_method(config, self.model, subject)
        self.plan: list[Stage] = self.method.plan()
        control = self.method.control()
        shown = [p for each in photos for p in each.photos]
        hints = Hints(control, shown, listener.on_message) if control else None
        self.scenes = Scenes.of(subject, hints, photos, self.model.resolution)
        self.samples = self.scenes if samples else Scenes([], [])
        self.images = [p.image for p in photos[0].photos]
        if config.crop == "buckets":
            listener.on_message(setup.in_buckets(shown, self.model))
        self.stages = PlanState(self.model, self.plan, config.seed, lambda: setup.make_scaler(self.precision))
        self.recovery = Recovery()
        self.history: list[float | None] = []  # loss of each step of the plan; None where it was not finite
        self.pace = Pace(config.checkpoint_every)
        self._saved: tuple[int, int] | None = None  # stage and step of the newest checkpoint
        self._between_steps = False  # whether weights and optimiser are of the very step that is counted
        self._moving = False  # whether it is being taken to a checkpoint, and its state is of no step
        self.known = setup.known(config, self.method, self.base_hash, self.precision, photos)
        self.material = StageData(
            self.stages, subject, photos, hints, config, self.base_hash, clock, listener.on_message
        )
        self._autocast = setup.autocast_type(self.precision)

    def advice(self) -> list[str]:
        """Warnings about the base, the token and the folders, before anything is trained."""
        return setup.advice(self.config, self.model, self.method, self.material.taught)

    def finished(self, out: Path) -> Concept:
        """The concept of a run that had already ended, if it was this run."""
        concept = Concept.load(out)
        setup.require_same(setup.identity(dict(concept.record)), setup.identity(self.known), str(out))
        self.listener.on_message(f"{out} was finished already.")
        leave(out)
        return concept

    def learn(self, work: Path) -> None:
        """Train all stages from wherever the last good checkpoint was."""
        self.checkpoints = Checkpoints(work / CHECKPOINTS, self.listener.on_message)
        checkpoint = self.checkpoints.latest()
        if checkpoint is not None:
            setup.require_same(checkpoint.values["identity"], setup.identity(self.known), str(work))
            self.recovery.load_state(checkpoint.values["recovery"])
            self.clock.load_state(checkpoint.values["clock"])
        elif self.config.resume:
            self.listener.on_message("There is no checkpoint to go on from; training starts from the beginning.")
        about = (self.config, self.model, self.subject, self.images, self.scenes, work, self.clock, self.listener)
        self.between = Callbacks(*about)
        self._go_to(checkpoint)
        self.listener.on_start(self.plan, self.stages.done)
        self.signals.patient = True
        try:
            while self.stages.index < len(self.plan):
                try:
                    self._train_stage()
                except NotFiniteError as error:
                    self._go_back(error)
            self.signals.check()  # what came since the last step
        except Interrupted as error:
            raise self._saved_before(error) from error
        except BaseException:
            if self._between_steps:
                with suppress(BoothError, OSError):  # there may be no room for it either
                    self._save()
            raise
        finally:
            self.signals.patient = False

    def finish(self, out: Path, work: Path) -> Concept:
        """Write the concept; whatever goes wrong, the trained weights are kept."""
        self.listener.on_message(f"Writing the concept {out}.")
        selection = self.between.selection
        try:
            if selection is not None:
                selection.restore(self.stages)
            concept = write_concept(
                out,
                self.model,
                self.plan,
                self.clock,
                name=out.name,
                device=self.device,
                history=self.history,
                previews=self.between.previews,
                scenes=self.samples,
                stopped=selection.stopped if selection else None,
                selection=selection.record() if selection else None,
                needed=self.stages.trained_bytes,
                skipped_steps=self.recovery.skipped,
                recoveries=self.recovery.returns,
                **self.known,
            )
        except Interrupted as error:
            raise self._saved_before(error) from error
        except BaseException:
            with suppress(DiskFullError):  # a checkpoint may fit where the concept does not, or lie there already
                self._save()
            raise
        leave(out)
        return concept

    def _train_stage(self) -> None:
        """The current stage to its end. NotFiniteError says that the run has to go back."""
        stage, stages = self.stages.stage, self.stages
        update = stages.open()
        update.rate_scale = self.recovery.rate_scale(stage.name)
        self._require_room(update)
        batches = self.material.batches(stages.index)
        steps = training_steps(
            self.model,
            batches,
            update,
            seed=stages.seed,
            start=stages.step,
            stop=stage.method.config.steps,
            autocast=self._autocast,
        )
        finished = self.between.is_done(stages, update)
        self._free()
        for step in () if finished else steps:
            self._between_steps = True
            stages.step = step.index
            self.history.append(step.loss if math.isfinite(step.loss) else None)
            self.clock.add("train", step.seconds)
            self.recovery.note(step, update.loss_scale)
            self.listener.on_step(stage.name, step, stage.method.config.steps)
            if self.recovery.must_return:
                raise NotFiniteError(f"The loss or gradient was not finite {SKIPS + 1} times in a row.")
            self.between.after(step, stages)
            self.signals.check()
            done = self.between.is_done(stages, update)
            if step.index < stage.method.config.steps:
                self._save_if_due()
            self.between.preview(stages, update)
            if done:
                break
            self._free()  # again, if it was read for drawing
            self._between_steps = False
        stages.close()
        self._save_if_due(boundary=True)

    def _free(self) -> None:
        """By the plan, let go of what the stage's steps do not need."""
        if self.memory.chosen.frees:
            self.material.free(self.stages.index, self._autocast)

    def _go_back(self, error: NotFiniteError) -> None:
        """Return to the last good checkpoint, or to the start, with half the learning rate for this stage."""
        checkpoint = self.checkpoints.latest()
        done = checkpoint.done if checkpoint else 0
        record = self.recovery.go_back(self.stages.stage.name, self.stages.step, done, error)
        self.listener.on_message(
            f"{error} Going back from step {record.step} of {record.stage} to the checkpoint after {done} steps, with "
            f"{record.rate_scale:g} of the learning rate."
        )
        self._go_to(checkpoint)

    def _go_to(self, checkpoint: Checkpoint | None) -> None:
        self._moving = True
        self.stages.detach()  # what is asked of the base is asked of the bare one
        stage, step = (checkpoint.values["stage"], checkpoint.values["step"]) if checkpoint else (0, 0)
        self.material.prepare(stage, step, self._autocast)
        self.stages.take_up(checkpoint)
        self.history = list(checkpoint.values["history"]) if checkpoint else []
        self._saved = (self.stages.index, self.stages.step) if checkpoint else None
        self.between.take_up(checkpoint)
        self._moving = False

    def _require_room(self, update: Update) -> None:
        """Before a stage's first step: space for its checkpoints and the artefact."""
        kept = optimizer_of(update.config).state_bytes * sum(p.numel() for p in update.parameters().values())
        trained = size_of_tensors(update.parameters())
        self._size = size_of_tensors(self.stages.state()[0]) + (0 if self.stages.step else kept)
        self._size += trained if self.between.selection else 0  # the best checkpoint's weights
        artefact = self.stages.trained_bytes + trained
        self.checkpoints.require_space(self._size, self.config.checkpoint_every, artefact)

    def _save_if_due(self, boundary: bool = False) -> None:
        if self.pace.due(self.stages.done, self._size, boundary):
            self._save()

    def _save(self) -> None:
        """Save a checkpoint, unless the newest one is already of this very step."""
        if self._saved == (self.stages.index, self.stages.step):
            return
        began = time.perf_counter()
        tensors, values = self.stages.state()
        values |= {
            "identity": setup.identity(self.known),
            "recovery": self.recovery.state(),
            "history": self.history,
            "clock": self.clock.state(),
        }
        kept, chosen = self.between.state()
        tensors, values = tensors | kept, values | chosen
        folder = self.checkpoints.save(self.stages.done, tensors, values)
        self._saved = (self.stages.index, self.stages.step)
        seconds = time.perf_counter() - began
        self.clock.add("checkpoint", seconds)
        self.pace.spent(size_of_tensors(tensors), seconds)
        self.listener.on_checkpoint(folder, self.stages.done)

    def _saved_before(self, error: Interrupted) -> Interrupted:
        """Save, and say where the run can go on.

        Unsaved stays what is not finite, and what was interrupted elsewhere than between two steps: its weights may be
        of another step than the one it is at.
        """
        told = f"The last good checkpoint is kept{'' if self._saved else ', if there is one'}"
        if not self.signals.broke_in and not self._moving:
            with suppress(NotFiniteError):
                self._save()
                told = f"A checkpoint is saved after {self.stages.done} of {self.stages.total} steps"
        return Interrupted(f"{error} {told}; run the same command with --resume to go on.", error.exit_code - 128)
