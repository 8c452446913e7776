"""Jobs in this very process, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from booth.events import Event
from booth.executor.job import Executor, Job, Outcome, Resident, perform


class ThisProcess(Executor):
    """Does a job when it is asked what became of it."""

    workers = 1
    apart = False

    def __init__(self, on_event: Callable[[Event], None] = lambda event: None) -> None:
        self._resident = Resident(on_event=on_event)
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, timeout: float | None = None) -> Outcome | None:
        return perform(self._jobs.popleft(), self._resident)

    def stop(self) -> None:
        self._resident.cancel.cancel("Stopped.")

    def close(self) -> None:
        self._resident.close()
