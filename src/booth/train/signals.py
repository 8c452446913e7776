"""SIGINT, SIGTERM and a closed terminal's SIGHUP wait for the end of a step, so that a checkpoint can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from booth.core.cancel import CancelToken
from booth.core.errors import Interrupted
from booth.core.signals import catch, release

# What a run may be asked for while it goes on, done after the step that it is at; Windows has no such signals.
WISHES = {s: wish for name, wish in (("SIGUSR1", "preview"), ("SIGUSR2", "save")) if (s := getattr(signal, name, None))}


class Signals:
    """Within this context the signals raise Interrupted at once or, while `patient`, set the token for it.

    A second signal is never made to wait; its error is `abrupt`, for a step may be half done.
    """

    def __init__(self, token: CancelToken) -> None:
        self.patient = False
        self.wishes: list[str] = []  # to be taken up between steps, by name of what a Trainer can do
        self._token = token
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._former = catch(self._handle) | {s: signal.signal(s, self._wish) for s in WISHES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        release(self._former)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        if WISHES[number] not in self.wishes:
            self.wishes.append(WISHES[number])

    def _handle(self, number: int, frame: FrameType | None) -> None:
        error = Interrupted(f"Stopped by {signal.Signals(number).name}.", number)
        if not self.patient or self._token.cancelled:
            error.abrupt = self.patient
            raise error
        self._token.cancel(error)
