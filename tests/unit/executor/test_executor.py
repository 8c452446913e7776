"""The same promises of every executor: hot workers, failures that are told, stopping, and workers that die."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest

from booth.events import Event
from booth.executor.here import ThisProcess
from booth.executor.job import Executor, Job
from booth.executor.processes import LocalProcesses

Make = Callable[[int], tuple[Executor, list[Event]]]


@pytest.fixture(params=["this process", "processes"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Executor] = []
    monkeypatch.setattr(jobs.Loaded, "loads", 0)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))

    def one(workers: int) -> tuple[Executor, list[Event]]:
        heard: list[Event] = []
        executor: Executor = (
            ThisProcess(heard.append)
            if request.param == "this process"
            else LocalProcesses([{"OMP_NUM_THREADS": "1"}] * workers, heard.append)
        )
        made.append(executor)
        return executor, heard

    yield one
    for executor in made:
        executor.close()


def job(call: str, key: str = "a", **arguments: Any) -> Job:
    return Job(key, f"jobs:{call}", arguments)


def test_all_jobs_are_done_on_what_a_worker_holds(make: Make) -> None:
    executor, heard = make(2)
    outcomes = list(executor.each(job("double", str(i), value=i) for i in range(6)))
    assert {o.job.key: o.result["value"] for o in outcomes} == {str(i): 2 * i for i in range(6)}
    loads = {o.result["pid"]: o.result["loads"] for o in outcomes}
    assert set(loads.values()) == {1}
    assert len(loads) <= executor.workers
    assert {e.text for e in heard} == {f"doubling {i}" for i in range(6)}


def test_another_base_takes_the_place_of_the_former(make: Make) -> None:
    executor, _ = make(1)
    bases = [o.result["base"] for o in executor.each(job("double", b, value=1, base=b) for b in "xxy")]
    assert bases == ["x", "x", "y"]


def test_a_failure_is_told_and_the_others_go_on(make: Make) -> None:
    executor, _ = make(1)
    refused, failed, done = executor.each([job("refuse"), job("fail"), job("double", value=4)])
    assert (refused.state, refused.error, refused.reason) == ("failed", "BadDataError", "There are no photos.")
    assert (failed.state, failed.error, failed.reason) == ("failed", "Unexpected", "ZeroDivisionError: by nothing")
    assert "by nothing" in failed.lines[-1]
    assert any("in fail" in line for line in failed.lines)
    assert (done.state, done.result["value"]) == ("done", 8)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalProcesses, list[Event]]]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    heard: list[Event] = []
    executor = LocalProcesses([{"OMP_NUM_THREADS": "3"}], heard.append)
    yield executor, heard
    executor.close()


def test_the_job_of_a_worker_that_dies_is_lost_and_the_next_one_has_another(processes: Any) -> None:
    executor, _ = processes
    lost, done = executor.each([job("die"), job("double", value=1)])
    assert (lost.state, done.state) == ("lost", "done")
    assert "SIGKILL" in lost.reason
    assert done.result["threads"] == "3"
    assert os.environ.get("OMP_NUM_THREADS") != "3"


def test_a_worker_that_is_terminated_saves_and_is_replaced(processes: Any) -> None:
    executor, heard = processes
    executor.submit(job("until_stopped"))
    while not heard:
        assert executor.next(timeout=0.05) is None
    os.kill(int(heard[0].text), signal.SIGTERM)
    stopped = executor.next()
    assert (stopped.state, stopped.reason) == ("stopped", "Stopped by SIGTERM.")
    executor.submit(job("double", value=1))
    done = executor.next()
    assert done.state == "done"
    assert str(done.result["pid"]) != heard[0].text


def test_all_are_stopped_where_that_is_asked_for(processes: Any) -> None:
    executor, heard = processes
    executor.submit(job("until_stopped"))
    while not heard:
        executor.next(timeout=0.05)
    executor.stop()
    assert executor.next().state == "stopped"
