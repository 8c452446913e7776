"""Driving a fleet: what is not done is handed to workers, and what became of each run is written down.

Nothing that counts is kept in this process: it may be killed at any moment, and started again it finds in the place
what is done, what was being done and how often each run was tried.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from booth.core.errors import BadDataError, UsageError
from booth.core.json_values import Json
from booth.executor.job import Executor, Job, Outcome
from booth.executor.stopping import Stopping
from booth.fleet.claim import claimed
from booth.fleet.enrol import Asked, asked_for, enrol
from booth.fleet.manifest import Entry
from booth.fleet.place import Place
from booth.fleet.registry import require_one_shape, write_registry
from booth.fleet.report import write_report
from booth.fleet.runs import BEAT, DONE, Run, Status, Watch
from booth.train.together import FREE

ABOUT, DEAD = "fleet.json", "dead.jsonl"
CALL = "booth.fleet.work:work"
REFUSED = {cls.__name__ for cls in (UsageError, BadDataError)}  # no second try makes them better
OWN = {"token", "noun", "seed", "base"}  # of a run; its base is told by the hash
LOOK = 5.0  # seconds between two looks at runs that somebody else is at
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Fleet:
    """What is asked of a fleet, beside its runs."""

    threads: int = 1  # of each worker; they decide the last bits
    device: str | None = None  # of each worker
    evaluate: bool = True
    hot_swap: bool = False  # whether all adapters have to be of one shape
    failures: int = 3  # tries after which a run that fails is given up
    preemptions: int = 20  # how often a run may be stopped, or lost with its worker
    retry: bool = False  # whether runs that were given up are tried again
    together: int = 1  # how many runs of one shape a worker teaches in one pass; they then differ in their last bits


@dataclass
class Summary:
    """What became of a fleet's runs; each by "SUBJECT/ID"."""

    done: list[str] = field(default_factory=list[str])
    before: list[str] = field(default_factory=list[str])  # done when it began
    failed: dict[str, Status] = field(default_factory=dict[str, Status])

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        failed = [{"run": name, "code": s.code, "reason": s.reason} for name, s in self.failed.items()]
        return {"done": self.done, "done_before": self.before, "failed": failed}


def run_fleet(entries: Sequence[Entry], fleet: Fleet, place: Place, executor: Executor, tell: Tell) -> Summary:
    """Do what is not done yet. Interrupted by a signal, all workers have saved and the place says so.

    Raises UsageError where another driver has the place, or a fleet with another number of threads lies there.
    """
    if fleet.hot_swap:
        require_one_shape(entries)
    with claimed(place), Stopping(executor) as stopping:
        _require_same_threads(place, fleet.threads)
        driver = Driver(fleet, place, executor, tell)
        for asked in asked_for(entries, place, fleet.threads):
            driver.take_up(asked)
        try:
            driver.go(stopping)
        finally:
            write_down(place)
        stopping.check()
        return driver.summary


def planned(entries: Sequence[Entry], place: Place, threads: int) -> dict[str, Json]:
    """What a fleet would do, counted; writes nothing."""
    counts = {"runs": 0, "done": 0, "failed": 0, "unreadable": 0, "to_do": 0}
    spent: list[float] = []
    for asked in asked_for(entries, place, threads):
        done = asked.run.done()
        kind = "done" if done else "unreadable" if asked.fault else None
        kind = kind or ("failed" if asked.run.status().state == "failed" else "to_do")
        counts["runs"] += 1
        counts[kind] += 1
        spent += [float(done["worker_seconds"])] if done else []
    return {**counts, "seconds_each": round(sum(spent) / len(spent), 1) if spent else None}


class Driver:
    """Hands runs to an executor until each is done or given up."""

    def __init__(self, fleet: Fleet, place: Place, executor: Executor, tell: Tell) -> None:
        self.summary = Summary()
        self._fleet, self._place, self._executor, self._tell = fleet, place, executor, tell
        self._waiting: deque[Asked] = deque()
        self._elsewhere: list[tuple[Asked, Watch]] = []  # somebody else may be at them
        self._under_way: dict[str, list[Asked]] = {}  # by the job's key
        self._looked = float("-inf")

    def take_up(self, asked: Asked) -> None:
        """Find out what a run still needs."""
        run = asked.run
        if run.done() is not None:
            self.summary.before.append(_name(run))
            return
        status = run.status()
        if status.state == "failed" and not self._fleet.retry:
            self.summary.failed[_name(run)] = status
            self._tell(f"{run.subject} failed before and is left alone ({status.code}); `retry` tries it again.")
        elif asked.fault is not None:
            self._give_up(run, replace(status, code=asked.fault.code, reason=str(asked.fault)))
        elif status.state == "running":
            self._elsewhere.append((asked, Watch(self._place, f"{run.home}/{BEAT}")))
        else:
            if status.state == "failed":
                run.write(Status())
            self._waiting.append(asked)

    def go(self, stopping: Stopping) -> None:
        """Until nothing is left, or a signal came and every worker has saved."""
        while self._under_way or (not stopping.asked and (self._waiting or self._elsewhere)):
            self._look()
            while self._waiting and len(self._under_way) < self._executor.workers and not stopping.asked:
                self._hand_over(self._next())
            if self._under_way:
                outcome = self._executor.next(LOOK if self._elsewhere else None)
                if outcome is not None:
                    for asked, own in told_apart(self._under_way.pop(outcome.job.key), outcome):
                        self._take_note(asked, own, stopping.asked)
            elif self._elsewhere and not stopping.asked:
                time.sleep(min(LOOK, 0.5))

    def _look(self) -> None:
        """Take up what others were at and are no more."""
        if not self._elsewhere or time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        still: list[tuple[Asked, Watch]] = []
        for asked, watch in self._elsewhere:
            run = asked.run
            if run.done() is not None:
                self.summary.done.append(_name(run))
            elif run.status().state != "running":
                self.take_up(asked)
            elif watch.is_gone():
                self._lost(asked, "Its worker is gone.")
            else:
                still.append((asked, watch))
        self._elsewhere = still

    def _next(self) -> list[Asked]:
        """What comes next, with others of its shape; what has failed before is tried alone."""
        first = self._waiting.popleft()
        group = [first]
        if self._fleet.together > 1 and not first.run.status().failures:
            alike = (other for other in tuple(self._waiting) if shape_of(other.job) == shape_of(first.job))
            for other in islice((o for o in alike if not o.run.status().failures), self._fleet.together - 1):
                self._waiting.remove(other)
                group.append(other)
        return group

    def _hand_over(self, group: list[Asked]) -> None:
        for asked in group:
            enrol(asked)
        key = group[0].run.key
        self._under_way[key] = group
        arguments = {
            "place": self._place.url,
            "runs": [{"subject": asked.run.subject, "id": asked.run.key} for asked in group],
            "device": self._fleet.device,
            "evaluate": self._fleet.evaluate,
        }
        self._executor.submit(Job(key, CALL, arguments))

    def _take_note(self, asked: Asked, outcome: Outcome, stopping: bool) -> None:
        run = asked.run
        if outcome.state == "done":
            self.summary.done.append(_name(run))
            left = len(self._waiting) + len(self._elsewhere) + sum(map(len, self._under_way.values()))
            self._tell(f"{run.subject} is done; {left} left.")
        elif outcome.state == "stopped":
            if not stopping:
                self._tell(f"{run.subject} was stopped and goes on from its checkpoint.")
                self._again(asked, run.status())
        elif outcome.state == "lost":
            self._lost(asked, outcome.reason)
        else:
            self._failed(asked, outcome)

    def _lost(self, asked: Asked, reason: str) -> None:
        """With its worker: what it saved is there, and it goes on."""
        status = asked.run.status()
        status = replace(status, state="pending", owner=None, preemptions=status.preemptions + 1, reason=reason)
        self._tell(f"{asked.run.subject} goes on from its checkpoint. {reason}")
        self._again(asked, asked.run.write(status))

    def _again(self, asked: Asked, status: Status) -> None:
        if status.preemptions > self._fleet.preemptions:
            told = f"It was stopped or lost {status.preemptions} times. {status.reason}"
            self._give_up(asked.run, replace(status, code="preempted", reason=told))
        else:
            self._waiting.append(asked)

    def _failed(self, asked: Asked, outcome: Outcome) -> None:
        run, former = asked.run, asked.run.status()
        status = replace(
            former,
            state="pending",
            owner=None,
            failures=former.failures + 1,
            code=outcome.code,
            reason=outcome.reason,
            lines=outcome.lines,
        )
        if outcome.error in REFUSED or status.failures >= self._fleet.failures:
            self._give_up(run, status)
        else:
            run.write(status)
            self._tell(f"{run.subject} failed and is tried again: {outcome.reason}")
            self._waiting.append(asked)

    def _give_up(self, run: Run, status: Status) -> None:
        self.summary.failed[_name(run)] = run.write(replace(status, state="failed", owner=None))
        self._tell(f"{run.subject} failed: {status.reason}")


def told_apart(group: Sequence[Asked], outcome: Outcome) -> Iterator[tuple[Asked, Outcome]]:
    """What became of each run of a job: of one that was done, some may have failed."""
    for asked in group:
        result = outcome.result.get(asked.run.key, {}) if outcome.state == "done" else {}
        if "error" in result:
            yield asked, replace(outcome, state="failed", **result)
        else:
            yield asked, outcome


def shape_of(job: Mapping[str, Any]) -> str:
    """What has to be the same for runs to share a pass, as far as it can be told without a base."""
    values = {key: value for key, value in job["configuration"].items() if key not in OWN}
    values["settings"] = {key: value for key, value in values.get("settings", {}).items() if key not in FREE}
    return json.dumps(values | {"base": job["base_hash"]}, sort_keys=True)


def write_down(place: Place) -> None:
    """The registry, the dead letters and the report, from what lies in the place."""
    names = place.names("subjects")
    done = [d for n in names if n.endswith(f"/{DONE}") and (d := place.read_json(n)) is not None]
    states: list[tuple[str, Status]] = []
    for name in names:
        _, subject, key, *rest = name.split("/")
        if rest == ["state.json"] and f"subjects/{subject}/{key}/{DONE}" not in names:
            states.append((f"{subject}/{key}", Run(place, subject, key).status()))
    dead = [{"run": name, **status.to_json()} for name, status in states if status.state == "failed"]
    place.write(DEAD, "".join(json.dumps(letter, ensure_ascii=False) + "\n" for letter in dead).encode())
    write_registry(place, done)
    tries = {n: Run(place, *n.split("/")).status() for n in (f"{d['subject']}/{d['id']}" for d in done)}
    write_report(place, done, tries, states)


def _require_same_threads(place: Place, threads: int) -> None:
    about: Mapping[str, Any] | None = place.read_json(ABOUT)
    if about is None:
        place.write_json(ABOUT, {"schema": 1, "threads": threads})
    elif about["threads"] != threads:
        raise UsageError(
            f"{place.url} holds a fleet whose workers compute with {about['threads']} threads, and with {threads} the "
            f"last bits would differ.",
            f"Give `threads={about['threads']}`, or another `out`.",
            code="fleet.other_threads",
            field="threads",
        )


def _name(run: Run) -> str:
    return f"{run.subject}/{run.key}"
