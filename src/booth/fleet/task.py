"""A run while a worker is at it: fetched, trained on from where it was, and brought to its place."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cache import cache_folder
from booth.core.errors import Cancelled, DamagedFileError, Interrupted, NotAvailableError
from booth.core.json_values import Json
from booth.data.latent_store import FOLDER as LATENTS
from booth.events import Event, Listener
from booth.executor.job import Resident
from booth.fleet.place import Place
from booth.fleet.results import CONCEPT, bring, measure, sha256_of
from booth.fleet.runs import BEAT, DONE, Beat, Run
from booth.fleet.uploads import Uploads, restore
from booth.session import Session
from booth.train.folders import CHECKPOINTS, work_folder
from booth.train.setup import choose_device
from booth.train.trainer import Trainer

PHOTOS = "photos"


class Task:
    """A run while this worker is at it: within its context the place says so, and a heart beats."""

    def __init__(self, run: Run, arguments: Mapping[str, Any]) -> None:
        self.run = run
        self._device, self._evaluate = arguments["device"], arguments["evaluate"]
        self._began, self._is_kept = time.monotonic(), False
        self._beat = Beat(run.place, f"{run.home}/{BEAT}")
        self.scratch = subject_scratch(run.place.url, run.subject) / run.key

    @cached_property
    def job(self) -> dict[str, Any]:
        """What was asked; DamagedFileError where nothing was."""
        job = self.run.job()
        if job is None:
            raise DamagedFileError(
                f"{self.run.home} in {self.run.place.url} was not enrolled.",
                "Run the command again.",
                code="fleet.not_enrolled",
            )
        return job

    def __enter__(self) -> Task:
        _ = self.job
        self._status = self.run.status()
        self._beat.__enter__()
        self.run.write(replace(self._status, state="running", owner=self._beat.owner, reason=""))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if isinstance(error, Cancelled):
                mine = isinstance(error, Interrupted)  # by a signal to this worker, not by its driver
                preemptions = self._status.preemptions + mine
                again = replace(self._status, state="pending", owner=None, preemptions=preemptions)
                if not self._is_kept:
                    self.run.write(replace(again, reason=str(error)))
            is_over = self._is_kept or isinstance(error, NotAvailableError)  # whose files have to stay here
            if error is not None and not is_over:
                self.forget()
        finally:
            self._beat.__exit__()

    def forget(self) -> None:
        """Leave nothing of it on this machine."""
        _forget(self.scratch)

    @property
    def latents(self) -> Path:
        """Where the encoded photos of the subject are kept, with all else that is the subject's."""
        return self.scratch.parent / LATENTS

    def prepared(self) -> RunConfig:
        """The run as it is trained here, once its photos and checkpoints are."""
        for name, digest in self.job["photos"].items():
            _fetch(self.run.place, f"{self.job['photos_at']}/{name}", self.scratch / PHOTOS / name, digest)
        config = self.config
        restore(self.run.place, self.run.checkpoints, work_folder(config.folder.absolute()) / CHECKPOINTS)
        return config

    @property
    def config(self) -> RunConfig:
        """The run as it is trained here."""
        return configuration_of(self.job, self.scratch, self._device)

    @contextmanager
    def heard(self, resident: Resident) -> Generator[list[Listener]]:
        """Within this context these hear of the training; when it is left, the newest checkpoint is in its place."""
        home = work_folder(self.config.folder.absolute())
        uploads = Uploads(self.run.place, self.run.checkpoints, home, self.scratch / "outbox")

        def told(event: Event) -> None:
            about = {"run": self.run.key, "subject": self.run.subject}
            resident.on_event(replace(event, data={**event.data, **about}))

        try:
            yield [uploads, told]
        finally:
            uploads.finish()

    def taught(self, resident: Resident) -> Concept:
        """The concept in the scratch folder, taught from where the newest checkpoint is, here or in the run's place."""
        config = self.prepared()
        session, latents = base_of(config, resident), self.latents
        with self.heard(resident) as listeners:
            how: dict[str, Any] = {"listeners": listeners, "cancel": resident.cancel, "session": session}
            with Trainer(config, **how, samples=False, latents=latents) as trainer:
                for _ in trainer:
                    pass
                return trainer.finish()

    def kept(self, concept: Concept, resident: Resident) -> dict[str, Json]:
        """Measure it and bring everything to its place, the commit marker last, which is returned."""
        measured = measure(concept, self.config, base_of(self.config, resident)) if self._evaluate else {}
        done = bring(self.run, concept, measured)
        done["worker_seconds"] = round(time.monotonic() - self._began, 3)
        _commit(self.run, done, self._beat)
        self._is_kept = True
        _forget(self.scratch if self.job["siblings"] else self.scratch.parent)
        return done


def subject_scratch(url: str, subject: str) -> Path:
    """Where all that is of one subject lies on the machine of a worker, until it is in its place."""
    place, name = (hashlib.sha256(text.encode()).hexdigest()[:16] for text in (url, subject))
    return cache_folder() / "fleet" / place / name


def _forget(folder: Path) -> None:
    """Leave nothing of a run, or of a subject, on this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def configuration_of(job: Mapping[str, Any], scratch: Path, device: str | None) -> RunConfig:
    """The run as it is trained here."""
    values = dict(job["configuration"])
    photos = [[scratch / PHOTOS / name for name in several] for several in job["sources"]]
    also = [{**other, "photos": own} for other, own in zip(values.pop("also"), photos[1:], strict=True)]
    here = {"photos": photos[0], "also": also, "out": scratch / CONCEPT, "resume": True, "device": device}
    return RunConfig.model_validate({**values, **here})


def base_of(config: RunConfig, resident: Resident) -> Session:
    """The base that this worker holds from run to run."""
    device = choose_device(config.device)
    return resident.hold("base", (config.base, device), lambda: Session(config.base, device))


def _fetch(place: Place, name: str, file: Path, digest: str) -> None:
    """A photo or what belongs to one; DamagedFileError where it is not what was enrolled."""
    if file.is_file() and sha256_of(file) == digest:
        return
    place.get(name, file)
    if sha256_of(file) != digest:
        raise DamagedFileError(
            f"{name} in {place.url} is not what was enrolled.", "Run the command again.", code="fleet.hash_differs"
        )


def _commit(run: Run, done: dict[str, Any], beat: Beat) -> None:
    """The marker, once all else is there; a worker that was taken for dead leaves the run to its successor."""
    now = run.status()
    if now.owner != beat.owner:
        raise Cancelled(f"{run.home} is done by another worker.")
    run.write(replace(now, state="done", owner=None))
    run.place.write_json(f"{run.home}/{DONE}", done)
    run.place.remove(*run.place.names(run.checkpoints))
