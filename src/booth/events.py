"""What long work tells while it runs: typed values, for any number of listeners.

`docs/reference/run-folder.md` lists the kinds of events and what each carries.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

from booth.core.cancel import CancelToken, cancellable
from booth.core.json_values import Json

Kind = Literal[
    "start",
    "phase",
    "progress",
    "plan",
    "step",
    "message",
    "checkpoint",
    "preview",
    "estimate",
    "score",
    "choice",
    "recovery",
    "memory",
    "noise_levels",
    "run",
    "end",
]
Level = Literal["debug", "info", "warning", "error"]
Phase = Literal[
    "preparing",
    "loading",
    "class pictures",
    "predictions",
    "encoding",
    "training",
    "preview",
    "scoring",
    "drawing",
    "measuring",
    "writing",
]
State = Literal["done", "paused", "failed"]  # of an `end`


@dataclass(frozen=True)
class Event:
    """One thing that happened, and how far the phase is in which it did."""

    kind: Kind
    level: Level = "info"
    phase: Phase = "preparing"
    done: int = 0  # of the phase's own units: steps of the whole plan, pictures, ...
    total: int | None = None  # None where nobody knows
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])  # plain values, by the kind
    time: float = field(default_factory=time.time)  # seconds since 1970, UTC

    @property
    def text(self) -> str:
        """The sentence for people, where there is one."""
        return str(self.data.get("text", ""))

    def to_json(self) -> dict[str, Json]:
        """Plain values; numbers that JSON does not know are None."""
        return _plain(asdict(self))

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Event:
        """What `to_json` returned; what a later version may have added is left out."""
        return cls(**{key: value for key, value in values.items() if key in cls.__dataclass_fields__})


class Listener(Protocol):
    """Hears events: any function of one. What it raises ends the work, which keeps what was done."""

    def __call__(self, event: Event, /) -> object: ...


class Reporter:
    """Tells listeners, knows the phase, and holds the token that ends the work."""

    def __init__(self, listeners: Iterable[Listener] = (), cancel: CancelToken | None = None) -> None:
        self.listeners = list(listeners)
        self.cancel = cancel or CancelToken()
        self.phase: Phase = "preparing"
        self.done = 0
        self.total: int | None = None

    def emit(self, kind: Kind, level: Level = "info", **data: object) -> Event:
        """Tell what happened, at the present place of the present phase."""
        event = Event(kind, level, self.phase, self.done, self.total, _plain(data))
        self.hand_on(event)
        return event

    def hand_on(self, event: Event) -> None:
        """Tell an event that was made elsewhere."""
        for listener in self.listeners:
            listener(event)

    def say(self, text: str, level: Level = "info") -> None:
        """A sentence for people."""
        self.emit("message", level, text=text)

    def warn(self, text: str) -> None:
        """A sentence that people should read."""
        self.say(text, "warning")

    def begin(self, phase: Phase, done: int = 0, total: int | None = None) -> None:
        """Another phase, until the next one begins."""
        self.phase, self.done, self.total = phase, done, total
        self.emit("phase")

    @contextmanager
    def within(self, phase: Phase, total: int | None = None) -> Generator[None]:
        """Another phase within this context; then the former one goes on."""
        former = (self.phase, self.done, self.total)
        self.begin(phase, 0, total)
        try:
            yield
        except BaseException:
            self.phase, self.done, self.total = former
            raise
        self.begin(*former)

    def progress(self, done: int) -> None:
        """How far the phase is; the place to be cancelled at."""
        self.done = done
        self.emit("progress", "debug")
        self.cancel.check()


_current: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


@contextmanager
def reporting(listeners: Iterable[Listener] = (), cancel: CancelToken | None = None) -> Generator[Reporter]:
    """Within this context work of whatever room tells these listeners, and ends where `cancel` is set."""
    made = Reporter(listeners, cancel)
    former = _current.set(made)
    try:
        with cancellable(made.cancel):
            made.cancel.check()
            yield made
    finally:
        _current.reset(former)


def current_reporter() -> Reporter:
    """Who is told of the work that this is part of; where nobody is, nobody hears."""
    return _current.get() or Reporter()


class EventLog:
    """A listener that appends each event to a file, one JSON object a line; nothing of it waits in this process.

    A line that could not be written, on a full disk, is left out and stops nothing.
    """

    def __init__(self, file: Path) -> None:
        self._file: BinaryIO = file.open("ab", buffering=0)
        self._torn = file.stat().st_size > 0  # by a process that was killed in the middle of a line

    def __call__(self, event: Event) -> None:
        line = (json.dumps(event.to_json(), ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        try:
            line = b"\n" + line if self._torn else line
            self._torn = self._file.write(line) < len(line)  # a disk that fills up takes the first bytes of it
        except OSError:
            self._torn = True

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_events(file: Path, offset: int = 0) -> Iterator[Event]:
    """The events of a file from a byte on; lines that are not whole are passed over."""
    with file.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            try:
                yield Event.of_json(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                continue


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
