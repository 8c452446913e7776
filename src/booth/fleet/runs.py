"""One run of a fleet in its place: what was asked, what became of it, and who is at it.

`job.json` is written once. `state.json` says what became of it. `done.json` is the commit marker: it is written after
all else, and what has it is never done again. All that belongs to one subject lies below `subjects/SUBJECT/`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from booth.core.errors import BoothError
from booth.core.json_values import Json
from booth.core.process import is_running, this_process
from booth.fleet.place import Place

SUBJECTS = "subjects"
JOB, STATE, BEAT, DONE = "job.json", "state.json", "beat.json", "done.json"
BEATS = 10.0  # seconds between two signs of life
GRACE = 45.0  # seconds without one, after which somebody is taken for dead
State = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True)
class Status:
    """What became of a run so far."""

    state: State = "pending"
    owner: Mapping[str, Any] | None = None  # the process that is at it
    preemptions: int = 0  # how often it was stopped or its worker lost
    failures: int = 0
    code: str = ""  # of what failed: the class of an error, such as BadDataError
    reason: str = ""  # one sentence
    lines: tuple[str, ...] = ()  # the last that was said
    updated: float = 0.0  # seconds since 1970

    @classmethod
    def of_json(cls, values: Mapping[str, object] | None) -> Status:
        """What `to_json` returned; pending where there is nothing."""
        known: dict[str, Any] = {k: v for k, v in (values or {}).items() if k in cls.__dataclass_fields__}
        known["lines"] = tuple(known.get("lines", ()))
        return cls(**known)

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return {**asdict(self), "lines": list(self.lines)}


class Run:
    """A run by its subject and id."""

    def __init__(self, place: Place, subject: str, key: str) -> None:
        self.place = place
        self.subject = subject
        self.key = key
        self.home = f"{SUBJECTS}/{subject}/{key}"

    @property
    def checkpoints(self) -> str:
        """Where its checkpoints lie."""
        return f"{self.home}/checkpoints"

    def status(self) -> Status:
        """What became of it so far."""
        return Status.of_json(self.place.read_json(f"{self.home}/{STATE}"))

    def write(self, status: Status) -> Status:
        """Keep what became of it."""
        status = replace(status, updated=time.time())
        self.place.write_json(f"{self.home}/{STATE}", status.to_json())
        return status

    def job(self) -> dict[str, Any] | None:
        """What was asked; None before it was enrolled."""
        return self.place.read_json(f"{self.home}/{JOB}")

    def done(self) -> dict[str, Any] | None:
        """The commit marker, with what came of it; None while it is not done."""
        return self.place.read_json(f"{self.home}/{DONE}")


class Beat:
    """Tells, while it is open, that this process is at something: a count that goes up, in a file of its own."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name = place, name
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.owner = this_process() | {"nonce": time.time_ns()}

    def __enter__(self) -> Beat:
        self._tell(0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._place.remove(self._name)

    def _go_on(self) -> None:
        count = 0
        while not self._over.wait(BEATS):
            count += 1
            try:
                self._tell(count)
            except (BoothError, OSError):  # the next one may get through
                continue

    def _tell(self, count: int) -> None:
        self._place.write_json(self._name, {"owner": self.owner, "count": count, "time": time.time()})


class Watch:
    """Finds out whether somebody is still at something, by the count that goes up and never by a clock of theirs."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name = place, name
        self._seen: Any = None
        self._since = time.monotonic()

    def is_gone(self) -> bool | None:
        """Whether its owner is dead; None while that cannot be told yet."""
        found = self._place.read_json(self._name)
        owner: Any = (found or {}).get("owner")
        if found is None or not isinstance(owner, dict) or not _may_run(owner):
            return True
        sign = (owner, found.get("count"))
        if sign != self._seen:
            first = self._seen is None
            self._seen, self._since = sign, time.monotonic()
            return None if first else False
        return True if time.monotonic() - self._since > GRACE else None


def _may_run(owner: Mapping[str, Any]) -> bool:
    """False where it is known that this process has ended: of this host it is."""
    try:
        return is_running(owner)
    except KeyError:
        return False
