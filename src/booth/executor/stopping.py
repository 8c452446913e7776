"""Signals to a driver: the first has every worker save and end, the second ends it at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from booth.core.errors import Interrupted
from booth.core.signals import catch, release
from booth.executor.job import Executor


class Stopping:
    """Within this context a signal is not the end of this process, but is asked about."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._number: int | None = None
        self._former: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._number is not None:
            told = "Every worker has saved; run the same command to go on."
            raise Interrupted(f"Stopped by {signal.Signals(self._number).name}. {told}", self._number)

    def __enter__(self) -> Stopping:
        self._former = catch(self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        release(self._former)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            raise Interrupted(f"Stopped by {signal.Signals(number).name} while workers were saving.", number)
        self._number = number
        self._executor.stop()
