"""Where a run writes: the concept's folder in the end and, until then, a work folder beside it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from booth.core.commit import discard, sweep
from booth.core.concept import RECORD
from booth.core.errors import UsageError
from booth.core.places import require_name, require_writable

CHECKPOINTS = "checkpoints"
PREVIEWS = "previews"


def work_folder(out: Path) -> Path:
    """Beside the concept, so that renames stay on one filesystem: concepts/sks-dog-lora.run."""
    return out.with_name(f"{out.name}.run")


def refuse_to_overwrite(out: Path, resume: bool) -> None:
    """Raise UsageError where a run would end in losing what is already there."""
    require_name(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file. Name another folder with --out.")
    require_writable(out.parent)
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise UsageError(f"{out} holds other files. Name another folder with --out.")
        if not resume:
            raise UsageError(f"{out} holds a finished concept. Name another folder with --out, or delete it first.")
    unfinished = work_folder(out) / CHECKPOINTS
    if not resume and any(unfinished.glob("ckpt-*")):
        raise UsageError(
            f"{unfinished.parent} holds an unfinished run. Add --resume to go on with it, name another folder with "
            "--out, or delete it first."
        )


@contextmanager
def occupied(out: Path) -> Generator[Path]:
    """Hold the work folder of `out`, cleared of what killed runs left half written.

    Raises UsageError when another process holds it or it cannot be written.
    """
    folder = work_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}. Name another folder with --out.") from error
    with file:
        _lock(file, folder)
        sweep(out.parent, out.name)
        yield folder


def leave(out: Path) -> None:
    """Remove the work folder, whose concept is finished."""
    if work_folder(out).is_dir():
        discard(work_folder(out))


def _lock(file: IO[str], folder: Path) -> None:
    """A lock that the system releases when its process ends, however it ends."""
    if sys.platform == "win32":  # an open file cannot be deleted there, which keeps the folder as well
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(f"Another run is training into {folder}. Wait for it, or name another --out.") from error
