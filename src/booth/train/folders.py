"""Where a run writes: the concept's folder in the end and, until then, a work folder beside it.

`docs/reference/run-folder.md` says what is in both, for whoever watches a run from outside.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from booth.core.commit import committed_file, discard, sweep
from booth.core.concept import RECORD
from booth.core.errors import UsageError
from booth.core.places import require_name, require_writable
from booth.core.process import this_process
from booth.events import EventLog

CHECKPOINTS = "checkpoints"
PREVIEWS = "previews"
EVENTS = "events.jsonl"
RUN = "run.json"
LOCK = "lock"
SCHEMA = 1  # of run.json and the events


def work_folder(out: Path) -> Path:
    """Beside the concept, so that renames stay on one filesystem: concepts/sks-dog-lora.run."""
    return out.with_name(f"{out.name}.run")


def refuse_to_overwrite(out: Path, resume: bool) -> None:
    """Raise UsageError where a run would end in losing what is already there."""
    require_name(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file.", "Name another folder with `out`.", code="out.is_file", field="out")
    require_writable(out.parent)
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise UsageError(
                f"{out} holds other files.", "Name another folder with `out`.", code="out.taken", field="out"
            )
        if not resume:
            raise UsageError(
                f"{out} holds a finished concept.",
                "Name another folder with `out`, or delete it first.",
                code="out.finished_concept",
                field="out",
            )
    if not resume and has_checkpoints(work_folder(out)):
        raise UsageError(
            f"{work_folder(out)} holds an unfinished run.",
            "Add `resume` to go on with it, name another folder with `out`, or delete it first.",
            code="out.unfinished_run",
            field="out",
        )


def has_checkpoints(folder: Path) -> bool:
    """Whether a work folder holds what would be lost with it."""
    return any((folder / CHECKPOINTS).glob("ckpt-*"))


class RunFolder:
    """The work folder of `out`, held by this process and cleared of what killed runs left half written.

    Raises UsageError when another process holds it or it cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.path = folder = work_folder(out)
        self._made = [place for place in folder.parents if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("a+")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror}.",
                "Name another folder with `out`.",
                code="out.not_writable",
                field="out",
            ) from error
        try:
            _hold(self._lock, folder)
            sweep(out.parent, out.name)
        except BaseException:
            self._lock.close()
            raise
        self._log: EventLog | None = None

    def log(self, afresh: bool) -> EventLog:
        """What appends events to the folder's file; `afresh` forgets those of a run of which nothing was saved."""
        if afresh:
            (self.path / EVENTS).unlink(missing_ok=True)
        self._log = EventLog(self.path / EVENTS)
        return self._log

    def freeze(self, configuration: Mapping[str, object]) -> None:
        """Write down what the run is, whole."""
        with committed_file(self.path / RUN) as file:
            file.write_text(json.dumps({"schema": SCHEMA, **configuration}, indent=1) + "\n", encoding="utf-8")

    @property
    def is_frozen(self) -> bool:
        """Whether it was written down what the run is."""
        return (self.path / RUN).is_file()

    def release(self) -> None:
        """Let another process have the folder."""
        if self._log is not None:
            self._log.close()
        self._lock.close()

    def remove(self) -> None:
        """Take the folder away: its concept is finished, or nothing came of it."""
        self.release()
        if self.path.is_dir():
            discard(self.path)
        for place in self._made:
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()


def _hold(file: IO[str], folder: Path) -> None:
    """A lock that the system releases when its process ends, however it ends; in it stands which process that is."""
    if sys.platform != "win32":  # an open file cannot be deleted there, which keeps the folder as well
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another run is training into {folder}.",
                "Wait for it, or name another `out`.",
                code="out.in_use",
                field="out",
            ) from error
    file.seek(0)
    file.truncate()
    file.write(json.dumps(this_process()) + "\n")
    file.flush()
