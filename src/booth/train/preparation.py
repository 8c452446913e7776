"""What a training decides before its first step: photos, folder, base, plan, and all that its steps go by."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from booth import __version__
from booth.concept import Concept
from booth.config import RunConfig
from booth.config.start import going_on
from booth.core.batch import BatchSource
from booth.core.cancel import CancelToken, cancellable
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Stage, Subject
from booth.core.precision import choose_precision
from booth.core.process import this_process
from booth.data.control_images import ControlImages
from booth.data.photos import PhotoSet
from booth.data.shards import Shards, are_shards
from booth.events import Listener, Reporter
from booth.session import Session
from booth.train import setup
from booth.train.advice import advice, advice_on_memory, coverage_in_words, in_buckets
from booth.train.checkpoints import KEEP
from booth.train.ending import Ending
from booth.train.folders import CHECKPOINTS, RunFolder, refuse_to_overwrite
from booth.train.identity import identity, known, require_same
from booth.train.longer import is_longer
from booth.train.memory import plan_memory
from booth.train.plan_state import PlanState
from booth.train.samples import Scenes
from booth.train.saving import Saving
from booth.train.sharding import told
from booth.train.stage_data import StageData
from booth.train.start import filled, read_start, require_fit, told_of
from booth.train.timing import Clock, forget_peak_memory


class Prepared:
    """A training that is ready to begin. Nothing is attached to the base yet."""

    def __init__(
        self,
        config: RunConfig,
        *,
        listeners: Sequence[Listener] = (),
        cancel: CancelToken | None = None,
        session: Session | None = None,
        photos: Sequence[PhotoSet] | None = None,
        samples: bool = True,
        keep: bool = True,
        latents: Path | None = None,
        batches: BatchSource | None = None,
    ) -> None:
        config = self.config = going_on(config, base=session is None)
        self.cancel = cancel or CancelToken()
        self.clock = Clock()
        self.finished: Concept | None = None  # what a run that had ended already, or has now, made
        self.former: Concept | None = None  # of the same run with fewer steps, which this one goes on from
        self._reporter = Reporter(listeners, self.cancel)
        self._settings: dict[str, Any] = {}  # for advice, if memory runs out
        self._exits = ExitStack()
        self._folder: RunFolder | None = None
        self._ending = Ending(self._reporter, self._exits)
        self._started = False
        with self._working():
            self._shards = Shards(config.photos) if batches is None and are_shards(config.photos) else None
            setup.require_rows(config, own=batches is not None, shards=self._shards is not None)
            if batches is not None:
                photos = [PhotoSet((), "Learning from batches of the caller's own.")]
            if self._shards is not None:
                photos = [PhotoSet((), self._shards.in_words())]
            subject, sets = setup.load_subjects(config, photos)
            self.config = config.model_copy(update={"token": subject.token, "noun": subject.noun})
            self._require(session)
            self._claim(sets, keep)
            self._load(session)
            self._decide(subject, sets, samples, latents, batches)

    def _require(self, session: Session | None) -> None:
        """What of the machine and the base can be told before anything is written: device, precision, memory plan."""
        self.device = setup.choose_device(self.config.device or (session.device if session else None))
        self.precision = choose_precision(self.config.precision, self.device)
        if session is not None and "base" not in self.config.model_fields_set:
            self.config = self.config.model_copy(update={"base": session.base})
        self._processes = session.processes if session else 1  # over which the denoiser is sharded
        self.memory = plan_memory(self.config, self.device, self._processes)
        self.config = self.memory.applied(self.config)

    def _claim(self, sets: list[PhotoSet], keep: bool) -> None:
        """Before anything that takes long: the folder, in which whoever watches finds all that is told."""
        self.out, resume = self.config.folder.absolute(), self.config.resume
        if keep:
            refuse_to_overwrite(self.out, resume)
            self._folder = self._ending.folder = RunFolder(self.out)
            self._reporter.listeners.insert(0, self._folder.log(afresh=not resume))
        self._reporter.emit("start", **this_process(), booth=__version__, out=str(self.out), resumed=resume)
        for sentence in (*(note for each in sets for note in each.notes), self.memory.told):
            self._reporter.say(sentence)

    def _load(self, session: Session | None) -> None:
        """The base, by the memory plan."""
        config = self.config
        forget_peak_memory(self.device)
        if session is None:
            session = self._exits.enter_context(Session(config.base, self.device, config.family))
        session.require(config.base, self.device, config.family)
        self._reporter.say(f"Loading the base {config.base}.")
        with self.clock.part("load"), self._reporter.within("loading"):
            self.model: Family = self._exits.enter_context(setup.held_base(config, session))
            self.base_hash = session.hash
        setup.set_resolution(config, self.model)

    def _decide(
        self, subject: Subject, sets: list[PhotoSet], samples: bool, latents: Path | None, batches: BatchSource | None
    ) -> None:
        """The plan, and all that its steps go by."""
        start, reporter = read_start(self.config, self.model, self.base_hash), self._reporter
        config = self.config = filled(self.config, start) if start else self.config
        self.method = setup.make_method(
            config, self.model, subject, own_rows=batches is not None or self._shards is not None
        )
        if start is not None and start.form is not None:
            self.method.take_form(start.form)
        self.plan: list[Stage] = self.method.plan()
        for sentence in coverage_in_words(self.plan, self.model):
            reporter.say(sentence)
        if self._processes > 1:
            reporter.say(told(self._processes))
        self._settings.update(self.method.config.model_dump(), memory=self.memory.smaller)
        self.photos = sets
        control = self.method.control()
        shown = [p for each in sets for p in each.photos]
        if self._shards is not None:
            batches = setup.shard_batches(self._shards, self.model, self.method)
        own = setup.own_batches(batches, self.model, self.plan, config.seed) if batches is not None else None
        control_images = ControlImages(control, shown, reporter.say) if control and own is None else None
        self._scenes = Scenes.of(subject, control_images, sets, self.model.resolution, config.preview_seeds)
        if control and own is not None:
            self._scenes = Scenes([], [])  # a ControlNet has nothing to follow where there are no photos
        self._samples = self._scenes if samples and self._processes == 1 else Scenes([], [])
        if config.crop == "buckets":
            reporter.say(in_buckets(shown, self.model))
        self.plan_state = PlanState(self.model, self.plan, config.seed, lambda: setup.make_scaler(self.precision))
        self._exits.callback(self.plan_state.detach)
        if config.compile:
            reporter.say(setup.compile_blocks(self.model, self.device, self.plan_state.total))
            self._exits.callback(self.model.compile_blocks, False)
        if start is not None:
            shapes = self.plan_state.shapes()
            require_fit(start, self.method, shapes)
            self.plan_state.start = start.tensors
            for sentence in (*told_of(start, shapes), *start.told):
                reporter.say(sentence)
        decided = (config, self.method, self.base_hash, self.precision, sets)
        self.known = known(*decided, start=start.record if start else None)
        if own is not None:
            self.known["data"]["batches"] = own.digest
        about = (self.plan_state, subject, sets, control_images, config, self.base_hash, self.clock, reporter, latents)
        self._autocast = setup.autocast_type(self.precision)
        self.stage_data = StageData(*about, own=own, autocast=self._autocast)
        folder = self._folder.path / CHECKPOINTS if self._folder is not None else None
        keep = config.keep_checkpoints or KEEP
        self._saving = Saving(folder, config.checkpoint_every, self.clock, reporter, keep)
        self._ending.keeps_checkpoints = config.keep_checkpoints is not None
        self.warnings = advice(config, self.model, self.method, self.stage_data.taught)
        for sentence in self.warnings:
            reporter.warn(sentence)
        if self._folder is not None and self.out.is_dir() and any(self.out.iterdir()):
            self._look_at_finished(Concept.load(self.out))

    def _look_at_finished(self, concept: Concept) -> None:
        """The run may be the one that wrote this concept: then it has ended, or goes on with more steps."""
        former, now = identity(dict(concept.record)), identity(self.known)
        if is_longer(former, now):
            self.former = concept
            return
        require_same(former, now, str(self.out))
        self.finished = concept
        self._reporter.say(f"{self.out} was finished already.")

    @contextmanager
    def _working(self) -> Generator[None]:
        """What takes long: drawing looks at the token, and an error ends the run and is told where it is watched."""
        if self._ending.over and self.finished is None:
            raise UsageError(
                "This training is closed.",
                "Make another Trainer, with resume=True to go on with its run.",
                code="trainer.closed",
            )
        try:
            with cancellable(self.cancel), advice_on_memory(self.config, self._settings):
                yield
        except BaseException as error:
            self._ending.failed(error, self._started)
            raise
