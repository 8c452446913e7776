"""What the stages of a run learn from: each subject's photos, and what keeps their class as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from booth.choices import noising_of
from booth.config import RunConfig
from booth.core.cache import cache_folder
from booth.core.family import Family
from booth.core.method import Method, Stage, Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, TrainingSubject
from booth.data.control_images import ControlImages
from booth.data.latent_store import FOLDER as LATENTS
from booth.data.latent_store import LatentStore
from booth.data.own_batches import OwnBatches
from booth.data.own_predictions import OwnPredictions, Untouched
from booth.data.photos import PhotoSet
from booth.data.prior import class_pictures, class_prompt
from booth.events import Reporter
from booth.families.control import LatentlyControlledFamily
from booth.families.memory import native_side
from booth.generate.draw import draw
from booth.train import setup
from booth.train.ladder import Ladder
from booth.train.loop import device_of
from booth.train.plan_state import PlanState
from booth.train.timing import Clock


class StageData:
    """Makes and keeps the batches of each stage; `photos` are those of each of `subject.all`."""

    def __init__(
        self,
        stages: PlanState,
        subject: Subject,
        photos: list[PhotoSet],
        control_images: ControlImages | None,
        config: RunConfig,
        base_hash: str,
        clock: Clock,
        reporter: Reporter,
        latents: Path | None = None,
        own: OwnBatches | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.stages = stages
        self.taught = list(zip(subject.all, photos, strict=True))
        self.control_images = control_images
        self.config = config
        self.base_hash = base_hash
        self.clock = clock
        self.reporter = reporter
        self.latents = latents  # a folder of the run's own for encoded photos; none = that of all runs
        self._own = own  # what deals the rows where there are no photos
        self._autocast = autocast  # what a step computes in
        self._untouched: Untouched | None = None  # the bare base, where it is asked for its own predictions
        self.seconds_ahead = 0.0  # each of the present steps' share of what was spent on asking it ahead of them
        self._class_images: dict[str, list[Image]] = {}
        self._sources: dict[int, PhotoBatches | OwnPredictions] = {}
        self._store: LatentStore | None = None
        self._gone: dict[int, set[str]] = {}  # components that each stage's steps do without

    @property
    def model(self) -> Family:
        """The base."""
        return self.stages.model

    def prepare(self, index: int) -> None:
        """Get from the base whatever is needed from stage `index` on; nothing may be attached to it."""
        left = [stage.method.config for stage in self.stages.plan[index:]]
        counts = [c.class_pictures for c in left if c.prior_weight > 0 and c.prior == "pictures"]
        if counts:
            self._draw_class_pictures(max(counts))
        if any(c.asks_base for c in left) and self._untouched is None:
            prompts = [class_prompt(subject.noun, subject.kind) for subject, _ in self.taught]
            self._untouched = Untouched(self.model, prompts, self._autocast)

    def batches(self, index: int) -> PhotoBatches | OwnPredictions | OwnBatches:
        """What a stage learns from, once it is attached; encoded when it is first asked for."""
        if self._own is not None:
            return self._own
        if self._untouched is not None:
            self._untouched.leave(self.stages.trained())
        if index not in self._sources:
            stage = self.stages.plan[index]
            config = stage.method.config
            shown = sum(len(photos.photos) for _, photos in self.taught)
            with self.clock.part("encode"), self.reporter.within("encoding", shown):
                batches = PhotoBatches(
                    self.model,
                    self._subjects(stage),
                    batch_size=config.batch_size,
                    prior_weight=config.prior_weight,
                    prior=config.prior,
                    preprocessing=setup.preprocessing(self.config),
                    caption_dropout=config.caption_dropout,
                    accumulate=config.accumulate,
                    control_images=self.control_images if stage.method.control() else None,
                    store=self._latents(),
                    on_photo=lambda: self.reporter.progress(self.reporter.done + 1),
                )
            asked = self._untouched if config.asks_base else None
            self._sources[index] = OwnPredictions(batches, asked, noising_of(self.model, config)) if asked else batches
        return self._sources[index]

    def _latents(self) -> LatentStore:
        """Where latents are kept; made once, while the autoencoder is there to be known by its weights."""
        if self._store is None:
            self._store = LatentStore(self.latents or cache_folder() / LATENTS, self.model)
        return self._store

    def photo_batches(self, index: int) -> PhotoBatches | OwnBatches:
        """The same without targets that the base was asked for."""
        source = self.batches(index)
        if not isinstance(source, OwnPredictions):
            return source
        assert isinstance(source.batches, PhotoBatches)
        return source.batches

    def free(self, index: int) -> None:
        """Let go of the autoencoder and, once all prompts of a stage are embedded, of the text encoders.

        The autoencoder stays where each step encodes hints or pictures; text encoders stay where something in them is
        trained or was, and where there are too many prompts to remember them all. Asked again, it does so again if
        something was read for drawing.
        """
        if index in self._gone and self._gone[index] <= self.model.freed:
            return
        prompts = self.photo_batches(index).prompts()
        device, autocast = device_of(self.model).type, self._autocast
        with torch.autocast(device, dtype=autocast, enabled=autocast is not None):  # as a step would embed them
            known = prompts is not None and self.model.embed_ahead(prompts)
        by_latents = isinstance(self.model, LatentlyControlledFamily)
        encodes = by_latents and self.stages.plan[index].method.control() is not None  # each step its control images
        encodes = encodes or (self._own is not None and self._own.encodes)
        self.model.free([*(() if encodes else ("vae",)), *(self.model.sites.text_encoders if known else ())])
        self._gone[index] = set(self.model.freed)

    def _subjects(self, stage: Stage) -> list[TrainingSubject]:
        """Each subject's photos, with the prompts that the method would give to that subject alone."""
        config = stage.method.config
        return [
            TrainingSubject(
                subject,
                photos,
                _prompts(stage.method, subject),
                class_prompt(subject.noun, subject.kind),
                self._class_images.get(subject.noun, [])[: config.class_pictures],
            )
            for subject, photos in self.taught
        ]

    def _draw_class_pictures(self, count: int) -> None:
        """They show what the untouched base means by the noun."""
        cache, held = cache_folder() / "class_pictures", self.config.base_precision
        base = self.base_hash if held in (None, "fp32") else f"{self.base_hash} in {held}"  # which draws otherwise
        side = None if self.model.resolution == native_side(self.model.base) else self.model.resolution
        for subject, _ in self.taught:
            if subject.noun in self._class_images:
                continue
            self.reporter.say(f"Drawing {count} class pictures, or finding them in the cache.")
            with self.clock.part("class_pictures"), self.reporter.within("class pictures", count):
                arguments = (subject.noun, count, self.config.seed, cache, base, self._draw)
                self._class_images[subject.noun] = class_pictures(
                    self.model, *arguments, guidance=self.model.guidance, kind=subject.kind, side=side
                )

    def _draw(self, model: Family, prompts: list[str], seeds: list[int], **how: Any) -> list[Image]:
        """Some class pictures; those before them are safe in the cache, so that here is a place to be cancelled at."""
        images = draw(model, prompts, seeds, **how)
        self.reporter.progress(min(self.reporter.done + len(images), self.reporter.total or 0))
        return images

    def ask_ahead(self, ladder: Ladder) -> None:
        """Have the base asked what the next steps will ask it, where they cannot do so one by one."""
        stages, config = self.stages, self.stages.stage.method.config
        source, began = self._sources.get(stages.index), time.perf_counter()
        if stages.step == 0:
            self.seconds_ahead = 0.0
        if not isinstance(source, OwnPredictions):
            return
        rngs = source.due(Rng(stages.seed, stages.step), config.steps, config.accumulate)
        if not rngs:
            return
        with self.clock.part("own_predictions"):
            if source.asks_at_once:
                ladder.ask(self.model, source, lambda: rngs, rngs[0])
            else:
                rows = len(rngs) * config.batch_size
                self.reporter.say(f"Asking the base for its own predictions at {rows} noised photos.")
                with self.reporter.within("predictions", len(rngs)):
                    ladder.ask(self.model, source, lambda: self._each(rngs), rngs[0])
        last = min(config.steps, rngs[-1].step + 1)
        self.seconds_ahead = (time.perf_counter() - began) / (last - stages.step)

    def _each(self, rngs: Sequence[Rng]) -> Iterator[Rng]:
        """One after the other, telling how far it is."""
        for done, rng in enumerate(rngs):
            self.reporter.progress(done)
            yield rng


def _prompts(method: Method, subject: Subject) -> list[str]:
    """What the method would give to photos of this subject alone."""
    alone = copy(method)
    alone.subject = replace(subject, others=())
    return alone.prompts()
