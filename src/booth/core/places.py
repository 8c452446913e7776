"""Places of a user's to read from and to write to, and what can be known of them before any work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from booth.core.errors import DiskFullError, UsageError

NAME_BYTES = 255  # of one file's or folder's name, on nearly every filesystem
KEPT_BYTES = 20  # of those, for what stands behind a name while it is half written: ".tmp-1234567-old"


def at_home(path: Path) -> Path:
    """The path with a leading ~ put out, which a shell does not do in every place and in a file nobody does."""
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user: a name that begins so
        return path


def require_name(place: Path) -> None:
    """Raise UsageError for a file or folder whose name is too long to be written, or is not text."""
    name = place.absolute().name
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The name of {printable(place)} is not UTF-8.",
            "Choose another one.",
            code="out.name_not_utf8",
            field="out",
        ) from error
    most = NAME_BYTES - KEPT_BYTES
    if size > most:
        raise UsageError(
            f"The name {name[:40]}... has {size} bytes, and {most} are the most.",
            "Choose a shorter one.",
            code="out.name_too_long",
            field="out",
        )


def require_writable(folder: Path) -> None:
    """Raise UsageError unless files can be written into `folder`, which is or will be there; leaves nothing behind."""
    require_name(folder)
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not os.path.isdir(place):
        raise UsageError(
            f"{place} is a file, so nothing can be written into {folder}.",
            "Name another folder.",
            code="out.inside_file",
            field="out",
        )
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"The disk of {place} is full.", "Free some space and try again.", code="disk.full", field="out"
            ) from error
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}.",
            "Name another folder.",
            code="out.not_writable",
            field="out",
        ) from error


def free_file(file: Path) -> Path:
    """The file or, where one of this name is there, that with the next free number: sheet.png, sheet-2.png, ..."""
    found, number = file, 1
    while os.path.lexists(found):
        number += 1
        found = file.with_name(f"{file.stem}-{number}{file.suffix}")
    return found


def free_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of these names or, where one of them is there, all with the same next free number behind."""
    number = 1
    while True:
        end = f"-{number}" if number > 1 else ""
        files = [folder / f"{Path(name).stem}{end}{Path(name).suffix}" for name in names]
        if not any(os.path.lexists(file) for file in files):
            return files
        number += 1


def require_empty(folder: Path) -> None:
    """Raise UsageError unless a folder that is going to be filled has nothing in it yet, and can be written."""
    if os.path.isdir(folder) and os.listdir(folder):
        raise UsageError(
            f"{folder} is not empty.", "Name another folder, or delete it first.", code="out.not_empty", field="out"
        )
    require_writable(folder)


def as_text(path: Path) -> str:
    """A path as text that every file and record can hold: bytes of it that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(path: Path | str) -> str:
    """A path fit for a terminal and for JSON: whatever cannot be printed, and bytes that are no text, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
