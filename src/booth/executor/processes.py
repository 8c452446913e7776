"""Jobs in processes of this machine, each of which stays and keeps what it holds for the next job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, Literal

from booth.core.errors import Interrupted
from booth.events import Event
from booth.executor.job import Executor, Job, Outcome, Resident, perform

PATIENCE = 30.0  # seconds that a worker has to save in when it is told to end
PACE = 0.5  # seconds between events of the level debug that are handed on
spawning = multiprocessing.get_context("spawn")  # a fork of a process that has computed with threads may hang


class LocalProcesses(Executor):
    """As many processes as `environments`, the variables that each is started with, such as OMP_NUM_THREADS.

    One that dies is replaced, and its job is `lost`. They outlive no driver: where this process is gone, each saves and
    ends.
    """

    def __init__(
        self, environments: Sequence[Mapping[str, str]], on_event: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.workers = len(environments)
        self._environments = environments
        self._on_event = on_event
        self._running: dict[int, _Worker] = {}

    def submit(self, job: Job) -> None:
        number = next(n for n in range(self.workers) if not self._is_busy(n))
        worker = self._running.get(number)
        if worker is None or not worker.is_usable:
            if worker is not None:
                worker.end()
            worker = self._running[number] = _Worker(number, self._environments[number])
        worker.start(job)

    def next(self, timeout: float | None = None) -> Outcome | None:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            busy = [w for w in self._running.values() if w.job is not None]
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = wait([thing for w in busy for thing in (w.connection, w.process.sentinel)], left)
            for worker in busy:
                if worker.connection in ready or worker.process.sentinel in ready:
                    outcome = worker.hear(self._on_event)
                    if outcome is not None:
                        return outcome
            if until is not None and time.monotonic() >= until:
                return None

    def stop(self) -> None:
        for worker in self._running.values():
            worker.tell_to_end()

    def close(self) -> None:
        self.stop()
        for worker in self._running.values():
            worker.end()
        self._running.clear()

    def _is_busy(self, number: int) -> bool:
        return number in self._running and self._running[number].job is not None


class _Worker:
    """One process, from this side."""

    def __init__(self, number: int, environment: Mapping[str, str]) -> None:
        self.connection, theirs = spawning.Pipe()
        self.process = spawning.Process(target=serve, args=(theirs, number), name=f"booth worker {number}")
        with _environment(environment):
            self.process.start()
        theirs.close()
        self.job: Job | None = None
        self._told_to_end = False

    @property
    def is_usable(self) -> bool:
        return self.process.is_alive() and not self._told_to_end

    def start(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it died meanwhile, which `hear` finds out
            self.connection.send(("job", job))

    def hear(self, on_event: Callable[[Event], None]) -> Outcome | None:
        """One thing that it told; where it is dead and told nothing more, its job is lost."""
        try:
            kind, told = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return self._ended(Outcome(self._job, "lost", reason=f"Its worker ended with {_how(self.process)}."))
        if kind == "event":
            on_event(Event.of_json(told))
            return None
        self._told_to_end |= told.state == "stopped"  # it was told by a signal, and ends
        return self._ended(told)

    def tell_to_end(self) -> None:
        self._told_to_end = True
        with suppress(OSError):
            self.connection.send(("end", None))

    def end(self) -> None:
        """Wait for it to save; one that takes too long is killed."""
        self.tell_to_end()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    @property
    def _job(self) -> Job:
        assert self.job is not None
        return self.job

    def _ended(self, outcome: Outcome) -> Outcome:
        self.job = None
        return outcome


def _how(process: Any) -> str:
    code = process.exitcode or 0
    with suppress(ValueError):
        if code < 0:
            return signal.Signals(-code).name
    return f"exit code {code}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Generator[None]:
    """Within this context a process is started with these variables: libraries read them when they are imported."""
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def serve(connection: Connection, number: int) -> None:
    """In the worker: the main thread hears what it is told and signals, and another one does the jobs.

    SIGTERM, and that nobody is at the other end any more, have the job save and end, and the worker with it. SIGINT of
    a terminal goes to the driver as well, which tells what is to be done.
    """
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    lock = threading.Lock()

    def tell(kind: Literal["event", "outcome"], value: Any) -> None:
        with lock, suppress(OSError):
            connection.send((kind, value))

    resident = Resident(number, _paced(lambda event: tell("event", event.to_json())))

    def end(number: int, frame: Any) -> None:
        resident.cancel.cancel(Interrupted(f"Stopped by {signal.Signals(number).name}.", number))
        jobs.put(None)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    worker = threading.Thread(target=_work, args=(jobs, resident, tell))
    worker.start()
    while worker.is_alive():
        try:
            if not connection.poll(0.2):  # so that it is seen when the worker ended of itself
                continue
            kind, job = connection.recv()
        except (EOFError, OSError):
            kind, job = "end", None
        if kind == "end":
            resident.cancel.cancel("Stopped by the driver.")
            jobs.put(None)
            break
        jobs.put(job)
    worker.join()


def _work(jobs: SimpleQueue[Job | None], resident: Resident, tell: Callable[[Any, Any], None]) -> None:
    while (job := jobs.get()) is not None:
        outcome = perform(job, resident)
        tell("outcome", outcome)
        if outcome.state == "stopped":
            break
    resident.close()


def _paced(hand_on: Callable[[Event], None]) -> Callable[[Event], None]:
    """Hands on what is for people at once, and of the rest something now and then."""
    last = 0.0

    def listener(event: Event) -> None:
        nonlocal last
        if event.level != "debug" or time.monotonic() - last >= PACE:
            last = time.monotonic()
            hand_on(event)

    return listener
