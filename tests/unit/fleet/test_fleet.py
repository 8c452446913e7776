"""A fleet on the toy base: nothing is done twice or lost, bits are those of single runs, the bad fail alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from booth.core.cache import cache_folder
from booth.core.errors import Interrupted, UsageError
from booth.core.process import this_process
from booth.executor.here import ThisProcess
from booth.executor.job import Executor, Job, Outcome, Resident
from booth.fleet import claim, runs
from booth.fleet.driver import Driver, Fleet, planned, run_fleet
from booth.fleet.enrol import asked_for
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder, Place
from booth.fleet.removal import delete_subject
from booth.fleet.runs import Run, Status
from booth.fleet.work import work
from booth.train.run import train

Asked = Callable[..., list[Entry]]


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "place")


def go(entries: list[Entry], fleet: Fleet, place: Place, **listen: Any) -> tuple[Any, list[str]]:
    told: list[str] = []
    with ThisProcess(**listen) as executor:
        return run_fleet(entries, fleet, place, executor, told.append), told


def home_of(place: Place, subject: str) -> str:
    (marker,) = [n for n in place.names(f"subjects/{subject}") if n.endswith("/done.json")]
    return marker.removesuffix("/done.json")


def bits(file: Path) -> dict[str, str]:
    return {n: hashlib.sha256(t.numpy().tobytes()).hexdigest() for n, t in load_file(file).items()}


WEIGHTS = "concept/pytorch_lora_weights.safetensors"


@pytest.mark.essential
def test_every_subject_is_taught_as_alone_and_a_bad_one_fails_alone(
    asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder, tmp_path: Path
) -> None:
    photos = subjects("rex", "bad", "tom")
    shutil.rmtree(photos / "bad")
    (photos / "bad").mkdir()
    (photos / "bad" / "1.png").write_bytes(b"no picture")
    entries = asked(photos)
    summary, _ = go(entries, unmeasured, place)
    assert {name.split("/")[0] for name in summary.done} == {"rex", "tom"}
    ((failed, status),) = summary.failed.items()
    assert failed.startswith("bad/")
    assert (status.code, status.failures) == ("photos.unusable", 1)  # a second try would not mend it
    assert "1.png" in status.reason
    alone = next(e for e in entries if e.subject == "rex").config.model_copy(update={"out": tmp_path / "alone"})
    expected = bits(train(alone, samples=False).folder / "pytorch_lora_weights.safetensors")
    assert bits(tmp_path / "place" / home_of(place, "rex") / WEIGHTS) == expected
    assert not [n for n in place.names() if "/checkpoints/" in n and "bad" not in n]
    assert not list(cache_folder().glob("fleet/*/*"))  # nothing of anybody stays on the worker's machine

    letters = [json.loads(line) for line in (place.read("dead.jsonl") or b"").splitlines()]
    assert [letter["run"] for letter in letters] == [failed]
    lines = [json.loads(line) for line in (place.read("registry.jsonl") or b"").splitlines()]
    assert sorted(line["name"] for line in lines) == ["rex", "tom"]
    for line in lines:
        for name, digest in line["files"].items():
            assert hashlib.sha256(place.read(name) or b"").hexdigest() == digest
    assert len({line["shape"] for line in lines}) == 1
    page = (place.read("report.html") or b"").decode()
    assert "2 runs are done, 1 failed" in page
    assert "1.png" in page


@pytest.mark.essential
def test_what_is_done_is_not_done_again_and_what_changed_is(
    asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder
) -> None:
    photos = subjects("rex", "tom")
    steps: list[Any] = []

    def listen(event: Any) -> None:
        if event.kind == "step":
            steps.append(event.data["subject"])

    go(asked(photos), unmeasured, place, on_event=listen)
    assert sorted(steps) == 3 * ["rex"] + 3 * ["tom"]
    summary, _ = go(asked(photos), unmeasured, place, on_event=listen)
    assert len(steps) == 6
    assert (len(summary.before), summary.done) == (2, [])
    home = home_of(place, "rex")
    key = home.rpartition("/")[2]
    asked_again = {"place": place.url, "runs": [{"subject": "rex", "id": key}], "device": None, "evaluate": False}
    again = work(asked_again, Resident(on_event=listen))
    assert again[key]["subject"] == "rex"  # a worker that comes late finds it done
    assert len(steps) == 6
    (photos / "tom" / "0.txt").write_text("a photo of a sks dog asleep")
    summary, _ = go(asked(photos), unmeasured, place, on_event=listen)
    assert steps[6:] == 3 * ["tom"]
    assert len(summary.before) == 1
    plan = planned(asked(photos, rank=3), place, 1)
    assert (plan["runs"], plan["done"], plan["to_do"]) == (2, 0, 2)
    with pytest.raises(UsageError, match="compute with 1 threads"):
        go(asked(photos), Fleet(threads=2), place)


@pytest.mark.essential
def test_a_run_goes_on_on_another_machine_to_the_same_bits(
    asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = asked(subjects("rex"), steps=6)
    expected = bits(
        train(entries[0].config.model_copy(update={"out": tmp_path / "alone"}), samples=False).folder
        / "pytorch_lora_weights.safetensors"
    )
    taken: list[int] = []

    def stop_after(count: int) -> Callable[[Any], None]:
        def listen(event: Any) -> None:
            if event.kind == "step":
                taken.append(event.data["step"])
                if len(taken) == count:
                    os.kill(os.getpid(), 15)

        return listen

    with pytest.raises(Interrupted, match="run the same command to go on") as stopped:
        go(entries, unmeasured, place, on_event=stop_after(4))
    assert stopped.value.exit_code == 143
    run = Run(place, "rex", entries_key(entries, place))
    assert run.status().state == "pending"
    assert not list(cache_folder().glob("fleet/*/*/*/concept*"))
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "another machine"))
    summary, _ = go(entries, unmeasured, place, on_event=stop_after(99))
    assert taken == [1, 2, 3, 4, 5, 6]
    assert len(summary.done) == 1
    assert bits(tmp_path / "place" / home_of(place, "rex") / WEIGHTS) == expected


def entries_key(entries: list[Entry], place: Place) -> str:
    return asked_for(entries, place, 1)[0].run.key


def test_a_run_whose_owner_died_is_taken_up_and_one_that_lives_is_not(
    asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = asked(subjects("rex"))
    run = Run(place, "rex", entries_key(entries, place))
    dead = this_process() | {"started": "long ago", "nonce": 1}
    run.write(Status("running", dead))
    place.write_json(f"{run.home}/beat.json", {"owner": dead, "count": 3})
    summary, told = go(entries, unmeasured, place)
    assert len(summary.done) == 1
    assert any("Its worker is gone" in line for line in told)
    assert run.status().preemptions == 1

    # Of another host it is known by its signs of life alone, whatever the clock says.
    monkeypatch.setattr(runs, "GRACE", 0.3)
    elsewhere = {"pid": 1, "started": "1", "host": "elsewhere", "nonce": 2}
    name = f"{run.home}/beat.json"
    place.write_json(name, {"owner": elsewhere, "count": 1, "time": 4e9})
    watch = runs.Watch(place, name)
    assert watch.is_gone() is None
    place.write_json(name, {"owner": elsewhere, "count": 2, "time": 0})
    assert watch.is_gone() is False
    time.sleep(0.4)
    assert watch.is_gone() is True


def test_two_drivers_do_not_share_a_place(asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder) -> None:
    entries = asked(subjects("rex"))
    with claim.claimed(place):
        beating = place.read_json("driver.json")
        assert beating is not None
        place.write_json("driver.json", beating | {"count": 1})

        class Counting(Folder):
            looks = 0

            def read_json(self, name: str) -> Any:
                Counting.looks += 1
                return (super().read_json(name) or {}) | {"count": Counting.looks}

        with pytest.raises(UsageError, match="Another driver"):
            go(entries, unmeasured, Counting(Path(place.url)))
    go(entries, unmeasured, place)
    assert place.read("driver.json") is None


class Scripted(Executor):
    """Ends each job as it is told to."""

    workers = 2

    def __init__(self, *states: str) -> None:
        self._states, self._jobs = list(states), list[Job]()
        self.tries = 0

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, timeout: float | None = None) -> Outcome:
        self.tries += 1
        state: Any = self._states.pop(0)
        lines = tuple(f"line {i}" for i in range(3))
        return Outcome(
            self._jobs.pop(0), state, error="Unexpected", code="unexpected", reason="ZeroDivisionError: x", lines=lines
        )

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Never:
    asked = False


def driven(entries: list[Entry], place: Place, fleet: Fleet, *states: str) -> tuple[Driver, Scripted]:
    executor = Scripted(*states)
    driver = Driver(fleet, place, executor, lambda text: None)
    for asked in asked_for(entries, place, 1):
        driver.take_up(asked)
    driver.go(Never())
    return driver, executor


def test_failures_and_preemptions_have_budgets_of_their_own(asked: Asked, subjects: Any, place: Folder) -> None:
    entries = asked(subjects("rex"))
    fleet = Fleet(failures=3, preemptions=3)
    driver, executor = driven(entries, place, fleet, "failed", "lost", "lost", "failed", "lost", "failed")
    ((_, status),) = driver.summary.failed.items()
    assert executor.tries == 6
    assert (status.failures, status.preemptions, status.code) == (3, 3, "unexpected")
    assert status.lines == ("line 0", "line 1", "line 2")

    driver, executor = driven(entries, place, fleet)  # what was given up is left alone
    assert executor.tries == 0
    assert len(driver.summary.failed) == 1
    driver, executor = driven(entries, place, replace(fleet, retry=True), *4 * ["lost"])
    ((_, status),) = driver.summary.failed.items()
    assert (status.code, status.preemptions, status.failures) == ("preempted", 4, 0)


def test_the_number_of_tries_outlives_the_driver(asked: Asked, subjects: Any, place: Folder) -> None:
    entries = asked(subjects("rex"))
    with pytest.raises(IndexError):  # killed after two failures
        driven(entries, place, Fleet(), "failed", "failed")
    driver, executor = driven(entries, place, Fleet(), "failed")
    assert executor.tries == 1
    assert next(iter(driver.summary.failed.values())).failures == 3


@pytest.mark.essential
def test_everything_of_one_person_goes_and_that_is_shown(
    asked: Asked, subjects: Any, unmeasured: Fleet, place: Folder
) -> None:
    go(asked(subjects("rex", "rexine")), unmeasured, place)
    before = [n for n in place.names() if "/rex/" in n]
    assert any(n.endswith(".png") for n in before)
    told = delete_subject(place, "rex")
    assert told["left"] == []
    assert set(before) <= set(told["removed"])
    everything = b"".join(place.read(name) or b"" for name in place.names() if not name.startswith("subjects/rexine"))
    assert not [n for n in place.names() if n.startswith("subjects/rex/")]
    assert b'"rex"' not in everything
    assert b"rex/" not in everything
    assert [n for n in place.names() if n.startswith("subjects/rexine/")]
    with pytest.raises(UsageError, match="nothing of 'rex'"):
        delete_subject(place, "rex")


def test_adapters_of_other_shapes_are_refused_where_they_are_to_be_swapped(
    asked: Asked, subjects: Any, place: Folder, tmp_path: Path
) -> None:
    subjects("rex", "tom")
    file = tmp_path / "photos" / "manifest.csv"
    file.write_text("photos,rank\nrex,2\ntom,4\n")
    with pytest.raises(UsageError, match="rex and tom would have adapters of different shapes"):
        go(asked(file), Fleet(evaluate=False, hot_swap=True), place)
    assert place.names() == []
