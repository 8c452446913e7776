"""Everything of one person, gone: from the place, from this machine, and from what lists it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypedDict

from booth.core.errors import UsageError
from booth.fleet.claim import claimed
from booth.fleet.driver import write_down
from booth.fleet.place import Place
from booth.fleet.runs import SUBJECTS
from booth.fleet.task import subject_scratch


class Removed(TypedDict):
    """What became of the files of a subject."""

    subject: str
    place: str  # its URL
    removed: list[str]
    left: list[str]


def delete_subject(place: Place, subject: str) -> Removed:
    """Remove a subject's photos, runs and adapters; return what was removed and what is left, which is nothing.

    Registry, report and dead letters are written again without it. UsageError where a driver is at the place, where it
    knows no such subject, and where something could not be removed.
    """
    with claimed(place):
        names = of_subject(place, subject)
        scratch = subject_scratch(place.url, subject)
        files = [str(p) for p in scratch.rglob("*") if p.is_file()] if scratch.is_dir() else []
        if not names and not files:
            raise UsageError(
                f"{place.url} has nothing of {subject!r}.",
                "Subjects are named as in the manifest.",
                code="removal.unknown",
                field="subject",
            )
        place.remove(*names)
        shutil.rmtree(scratch, ignore_errors=True)
        write_down(place)
        left = [*of_subject(place, subject), *([str(scratch)] if Path(scratch).exists() else [])]
    if left:
        raise UsageError(
            f"{len(left)} files of {subject!r} are still there, such as {left[0]}.",
            "Remove them by hand.",
            code="removal.left_over",
        )
    return {"subject": subject, "place": place.url, "removed": [*names, *files], "left": left}


def of_subject(place: Place, subject: str) -> list[str]:
    """Every file of a subject in the place; the slash keeps rex from rexine."""
    return [name for name in place.names(f"{SUBJECTS}/{subject}") if name.startswith(f"{SUBJECTS}/{subject}/")]
