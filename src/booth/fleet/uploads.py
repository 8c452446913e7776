"""Checkpoints that go up while training goes on, and come down again where a run goes on."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from booth.core.commit import MANIFEST
from booth.core.errors import BoothError
from booth.events import Event
from booth.fleet.place import Place

KEPT = 2  # checkpoints of a run in its place


class Uploads:
    """A listener of a training that brings its checkpoints to the run's place, in a thread of its own.

    The newest counts: one that waits while another comes is left out. A store that fails for a while stops no training:
    the next checkpoint counts.
    """

    def __init__(self, place: Place, under: str, work: Path, outbox: Path) -> None:
        self._place, self._under, self._work, self._outbox = place, under, work, outbox
        self._newest: Path | None = None
        self._changed = threading.Condition()
        self._over = False
        self._failed: BoothError | OSError | None = None
        shutil.rmtree(outbox, ignore_errors=True)
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        if event.kind == "checkpoint":
            saved = self._work / str(event.data["folder"])
            with self._changed:
                self._newest = self._linked(saved)
                self._changed.notify()

    def finish(self) -> None:
        """Wait until the newest one is there; raise what kept it from getting there."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _linked(self, saved: Path) -> Path:
        """Second names for its files: the training removes old checkpoints whenever it likes."""
        own = self._outbox / saved.name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        for file in saved.iterdir():
            try:
                os.link(file, own / file.name)
            except OSError:
                shutil.copyfile(file, own / file.name)
        return own

    def _go_on(self) -> None:
        while True:
            with self._changed:
                while self._newest is None and not self._over:
                    self._changed.wait()
                folder, self._newest = self._newest, None
            if folder is None:
                return
            try:
                self._bring(folder)
                self._failed = None
            except (BoothError, OSError) as error:
                self._failed = error
            shutil.rmtree(folder, ignore_errors=True)

    def _bring(self, folder: Path) -> None:
        self._place.put_folder(folder, f"{self._under}/{folder.name}", last=MANIFEST)
        for older in whole_checkpoints(self._place, self._under)[:-KEPT]:
            self._place.remove(f"{older}/{MANIFEST}")  # first, so that it is never taken for a whole one
            self._place.remove(*self._place.names(older))


def whole_checkpoints(place: Place, under: str) -> list[str]:
    """The folders of the checkpoints that are there whole, oldest first."""
    found = [name.removesuffix(f"/{MANIFEST}") for name in place.names(under) if name.endswith(f"/{MANIFEST}")]
    return sorted(found, key=lambda name: int(name.rpartition("-")[2]))


def restore(place: Place, under: str, folder: Path) -> None:
    """Bring the newest checkpoints down into `folder`, unless it has one that is as new; each appears whole."""
    there = whole_checkpoints(place, under)
    here = [p.name for p in folder.glob("ckpt-*") if (p / MANIFEST).is_file()]
    if not there or max(here, default="") >= there[-1].rpartition("/")[2]:
        return
    for name in there:
        own = folder / name.rpartition("/")[2]
        if own.name in here:
            continue
        work = own.with_name(f"{own.name}.tmp-{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        place.get_folder(name, work)
        with suppress(FileNotFoundError):  # it was removed meanwhile
            os.replace(work, own)
