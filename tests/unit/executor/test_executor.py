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

from booth.core.cancel import CancelToken
from booth.core.errors import BadDataError, BoothError, Cancelled
from booth.events import Event
from booth.executor import on_ray
from booth.executor.here import ThisProcess
from booth.executor.job import Executor, Job, raise_failed
from booth.executor.processes import LocalProcesses
from booth.executor.spread import LOSSES, spread

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


def test_lost_jobs_are_handed_out_again_until_it_was_too_often(processes: Any, tmp_path: Path) -> None:
    executor, _ = processes
    begun: list[str] = []
    asked = [job("die_once", "once", file=str(tmp_path / "died")), job("die", "always")]
    outcomes = {o.job.key: o for o in spread(executor, asked, CancelToken(), lambda j: begun.append(j.key))}
    assert outcomes["once"].state == "done"
    assert (outcomes["always"].state, outcomes["always"].code) == ("failed", "lost")
    assert begun.count("once") == 2
    assert begun.count("always") == LOSSES
    with pytest.raises(BoothError, match="SIGKILL"):
        raise_failed(outcomes["always"])


def test_what_is_cancelled_has_the_workers_save(processes: Any) -> None:
    executor, _ = processes
    token = CancelToken()
    executor._on_event = lambda event: token.cancel("Enough.")
    with pytest.raises(Cancelled, match="Enough"):
        list(spread(executor, [job("until_stopped"), job("double", "b", value=1)], token))


def test_an_error_of_a_worker_is_raised_as_what_it_was(make: Make) -> None:
    executor, _ = make(1)
    refused, failed = spread(executor, [job("refuse"), job("fail", "b")], CancelToken())
    with pytest.raises(BadDataError, match="There are no photos"):
        raise_failed(refused)
    with pytest.raises(BoothError, match="by nothing"):
        raise_failed(failed)


def test_a_job_saves_when_ray_takes_its_node_away(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def draining() -> bool:
        asked.append(True)
        return len(asked) == 3

    monkeypatch.setattr(on_ray, "PACE", 0.01)
    monkeypatch.setattr(on_ray, "is_draining", draining)
    stopped = on_ray.Actor(0).work(job("until_stopped"))
    assert (stopped.state, stopped.reason) == ("stopped", "Its node is about to be taken away.")
    assert len(asked) == 3
