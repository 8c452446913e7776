"""SIGINT and SIGTERM: while training they wait for the end of the step, so that a checkpoint can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from booth.core.errors import Interrupted

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Within this context the two signals raise Interrupted: at once, or at `check` while `patient`.

    A second signal is never made to wait; `broke_in` then tells that a step may be half done. Outside the main thread
    signals cannot be caught and are left alone.
    """

    def __init__(self) -> None:
        self.patient = False
        self.broke_in = False
        self._received: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._former = {s: signal.signal(s, self._handle) for s in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal came while patient."""
        if self._received is not None:
            raise self._interrupted(self._received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.patient or self._received is not None:
            self.broke_in = self.patient
            raise self._interrupted(number)
        self._received = number

    def _interrupted(self, number: int) -> Interrupted:
        return Interrupted(f"Stopped by {signal.Signals(number).name}.", number)
