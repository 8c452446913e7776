"""What an executor is handed and hands back: plain values in, plain values out. It knows nothing of what a job does."""

from __future__ import annotations

import importlib
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeVar, cast

from booth.core import errors
from booth.core.cancel import CancelToken
from booth.core.errors import BoothError, Cancelled
from booth.events import Event

T = TypeVar("T")
State = Literal["done", "failed", "stopped", "lost"]
LINES = 12  # of what a job that failed said last


@dataclass(frozen=True)
class Job:
    """A function by its name, "package.module:function", and its arguments, which JSON can hold."""

    key: str
    call: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: done, failed, stopped because that was asked for, or lost with its worker."""

    job: Job
    state: State
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""  # the class of a BoothError; "Unexpected" of any other
    code: str = ""  # of a BoothError
    reason: str = ""  # one sentence
    lines: tuple[str, ...] = ()  # the last ones of a traceback


def raise_failed(outcome: Outcome) -> None:
    """Raise here what ended a job, as far as a class and a sentence tell it; nothing where it is done."""
    if outcome.state != "failed":
        return
    kind = getattr(errors, outcome.error, errors.BoothError)
    told = "" if outcome.error != "Unexpected" else "\n" + "\n".join(outcome.lines)
    raise kind(f"{outcome.reason}{told}", code=outcome.code)


class Resident:
    """What stays in a worker from job to job, and by what a job can be stopped and heard."""

    def __init__(self, number: int = 0, on_event: Callable[[Event], None] = lambda event: None) -> None:
        self.number = number  # of the worker
        self.cancel = CancelToken()
        self.on_event = on_event
        self._held: dict[str, tuple[Hashable, Any]] = {}

    def hold(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The one thing of its kind, such as a loaded base; of another key than before, the former is closed first."""
        held = self._held.get(kind)
        if held is None or held[0] != key:
            self._let_go(kind)
            self._held[kind] = (key, make())
        return cast("T", self._held[kind][1])

    def close(self) -> None:
        """Let go of everything."""
        for kind in list(self._held):
            self._let_go(kind)

    def _let_go(self, kind: str) -> None:
        _, thing = self._held.pop(kind, (None, None))
        if hasattr(thing, "close"):
            cast("Any", thing).close()


def perform(job: Job, resident: Resident) -> Outcome:
    """Do a job here. Its function is called with (arguments, resident); whatever it raises is told."""
    try:
        module, _, name = job.call.partition(":")
        function = getattr(importlib.import_module(module), name)
        return Outcome(job, "done", function(job.arguments, resident))
    except Cancelled as error:
        return Outcome(job, "stopped", reason=str(error))
    except Exception as error:
        known = isinstance(error, BoothError)
        reason = str(error) if known else traceback.format_exception_only(error)[-1].strip()
        said = [] if known else "".join(traceback.format_exception(error)).splitlines()
        name = type(error).__name__ if known else "Unexpected"
        code = error.code if isinstance(error, BoothError) else "unexpected"
        return Outcome(job, "failed", error=name, code=code, reason=reason, lines=tuple(said[-LINES:]))


class Executor(ABC):
    """Does jobs, `workers` of them at a time, and tells of each when it ends. A context manager."""

    workers: int
    apart: ClassVar[bool] = True  # whether jobs are done elsewhere than in this process

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take on a job; to be called for at most `workers` jobs that have not ended."""

    @abstractmethod
    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for a job to end; None where none did within `timeout` seconds. To be called while there are jobs."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the jobs that are being done to save and end; each of them ends as `stopped`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the workers; a job that is still being done is stopped."""

    def each(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """What becomes of all jobs, in the order in which they end."""
        waiting, under_way = iter(jobs), 0
        while True:
            while under_way < self.workers and (job := next(waiting, None)) is not None:
                self.submit(job)
                under_way += 1
            if not under_way:
                return
            outcome = self.next()
            if outcome is not None:
                under_way -= 1
                yield outcome

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
