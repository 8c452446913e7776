"""Jobs: whatever is killed, no job is left in a state that is not so."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from booth.core.process import this_process
from booth.web import keeper
from booth.web.home import Home
from booth.web.jobs import ACTIVE, Job
from booth.web.library import FILE, Library
from booth.web.safety import Door
from booth.web.studio import Studio, open_studio

WORKER = """
import json, signal, sys, time
what = sys.argv[1]
def end(*_):
    print(json.dumps({"error": "Stopped.", "exit_code": 130}), flush=True); sys.exit(130)
signal.signal(signal.SIGINT, end)
print("working", file=sys.stderr, flush=True)
if what == "wait":
    open(sys.argv[2], "w").close()
    time.sleep(60)
if what == "fail":
    print(json.dumps({"error": "The disk is full.", "exit_code": 74})); sys.exit(74)
if what == "crash":
    raise RuntimeError("no word as JSON")
if what == "quiet":
    sys.exit(0)
print(json.dumps({"ok": True}))
"""


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that takes no time to load."""
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def until(studio: Studio, is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        studio.keeper.look()
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError([(j.state, j.reason) for j in studio.library.all()])


def add(studio: Studio, *words: str, kind: str = "generate", **more: object) -> Job:
    return studio.keeper.add(kind, list(words), module="worker", **more)  # type: ignore[arg-type]


def state(studio: Studio, job: Job) -> str:
    return studio.library.get(job.id).state  # type: ignore[union-attr]


def test_jobs_run_one_after_another_in_the_order_that_was_asked_for(studio: Studio) -> None:
    first, second, third = add(studio, "ok"), add(studio, "ok"), add(studio, "ok")
    studio.keeper.move(third, up=True)
    assert [j.id for j in studio.library.queued()] == [first.id, third.id, second.id]
    studio.keeper.look()
    assert len(studio.library.active()) == 1
    until(studio, lambda: all(j.state == "done" for j in studio.library.all()))
    began = {j.id: j.began or 0 for j in studio.library.all()}
    assert began[first.id] < began[third.id] < began[second.id]


@pytest.mark.parametrize(
    ("what", "reason", "advice"),
    [("fail", "The disk is full.", "advice.disk"), ("crash", "RuntimeError: no word as JSON", "advice.again"),
     ("quiet", "working", "advice.again")],
)  # fmt: skip
def test_a_failure_says_why_and_what_to_do(studio: Studio, what: str, reason: str, advice: str) -> None:
    job = add(studio, what)
    until(studio, lambda: state(studio, job) == "failed")
    found = studio.library.get(job.id)
    assert found is not None
    assert reason in found.reason
    assert found.advice == advice


def test_a_killed_worker_is_told_of(studio: Studio, tmp_path: Path) -> None:
    job = add(studio, "wait", str(tmp_path / "here"))
    until(studio, lambda: (tmp_path / "here").exists())
    os.kill(studio.library.get(job.id).process["pid"], signal.SIGKILL)  # type: ignore[union-attr,index]
    until(studio, lambda: state(studio, job) == "failed")
    assert studio.library.get(job.id).advice == "advice.killed"  # type: ignore[union-attr]


def test_stopped_and_paused_are_what_was_asked_for(studio: Studio, tmp_path: Path) -> None:
    job = add(studio, "wait", str(tmp_path / "here"), kind="train")
    until(studio, lambda: (tmp_path / "here").exists())
    studio.keeper.pause(job)
    until(studio, lambda: state(studio, job) == "paused")
    studio.keeper.resume(studio.library.get(job.id))  # type: ignore[arg-type]
    again = studio.library.get(job.id)
    assert again is not None
    assert again.state == "queued"
    assert "--resume" in again.words
    studio.keeper.cancel(again)
    assert state(studio, job) == "stopped"


def test_a_server_that_comes_back_adopts_what_runs_and_marks_what_died(home: Home, tmp_path: Path) -> None:
    former = open_studio(home, Door("t", 1))
    runs = add(former, "wait", str(tmp_path / "here"))
    until(former, lambda: (tmp_path / "here").exists())
    process = former.library.get(runs.id).process  # type: ignore[union-attr]
    dead = former.keeper.add("generate", ["ok"], module="worker", device="other")
    gone = {"pid": process["pid"], "started": "a process of this number that began earlier", "host": process["host"]}  # type: ignore[index]
    former.library.put(replace(dead, state="running", process=gone))
    former.library.close()  # killed: nothing of it is told
    studio = open_studio(home, Door("t", 1))
    studio.keeper.look()
    assert state(studio, runs) == "running"
    assert state(studio, dead) == "failed"
    studio.keeper.cancel(runs)
    until(studio, lambda: state(studio, runs) == "stopped")
    studio.library.close()


def test_a_job_that_ended_while_nobody_watched_is_judged_by_what_it_left(home: Home) -> None:
    former = open_studio(home, Door("t", 1))
    good, bad = add(former, "ok"), add(former, "fail", device="other")
    former.keeper.look()
    for child in former.keeper._children.values():
        child.wait()
    former.library.close()
    studio = open_studio(home, Door("t", 1))
    studio.keeper.look()
    assert (state(studio, good), state(studio, bad)) == ("done", "failed")
    studio.library.close()


@pytest.mark.parametrize("damage", ["gone", "scrambled"])
def test_the_index_is_made_again_from_the_folders(home: Home, damage: str) -> None:
    library = Library(home)
    studio = open_studio(home, Door("t", 1))
    jobs = {add(studio, "ok").id for _ in range(3)}
    studio.library.close()
    library.close()
    for file in home.studio.glob(f"{FILE}*"):
        file.unlink()
    if damage == "scrambled":
        (home.studio / FILE).write_bytes(b"no database" * 1000)
    (home.jobs / "0123456789ab").mkdir()
    (home.jobs / "0123456789ab" / "job.json").write_text("{")
    again = Library(home)
    assert {j.id for j in again.all()} == jobs
    again.close()


def test_no_state_is_active_without_a_process(studio: Studio) -> None:
    job = add(studio, "ok")
    studio.library.put(replace(job, state="starting"))  # the server was killed before it started the process
    studio.keeper.look()
    assert state(studio, job) not in ACTIVE


def test_a_server_that_was_killed_before_it_noted_a_process_finds_it_again(home: Home, tmp_path: Path) -> None:
    former = open_studio(home, Door("t", 1))
    job = add(former, "wait", str(tmp_path / "here"))
    until(former, lambda: (tmp_path / "here").exists())
    former.library.put(replace(former.library.get(job.id), state="starting", process=None))  # type: ignore[type-var]
    former.library.close()
    studio = open_studio(home, Door("t", 1))
    studio.keeper.look()
    assert state(studio, job) == "running"
    studio.keeper.cancel(job)
    until(studio, lambda: state(studio, job) == "stopped")
    studio.library.close()


def test_a_job_whose_state_vanished_is_found_by_its_process(home: Home, tmp_path: Path) -> None:
    former = open_studio(home, Door("t", 1))
    job = add(former, "wait", str(tmp_path / "here"))
    until(former, lambda: (tmp_path / "here").exists())
    former.library.close()
    (home.jobs / job.id / "state.json").unlink()
    studio = open_studio(home, Door("t", 1))
    studio.keeper.look()
    assert state(studio, job) == "running"
    studio.keeper.cancel(job)
    until(studio, lambda: state(studio, job) == "stopped")
    studio.library.close()


def test_a_process_that_begins_too_late_does_nothing(studio: Studio, tmp_path: Path) -> None:
    job = add(studio, "wait", str(tmp_path / "here"))
    studio.library.put(replace(job, state="failed"))
    words = [sys.executable, "-m", "booth.web.worker", str(studio.home.jobs / job.id), "worker", *job.argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "taken back" in done.stderr
    assert not (tmp_path / "here").exists()


def test_a_full_disk_does_not_end_the_watch(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) < 3:
            raise sqlite3.OperationalError("database or disk is full") if len(looks) == 1 else OSError(28, "full")
        studio.keeper._over.set()

    monkeypatch.setattr(keeper, "PULSE", 0.001)
    monkeypatch.setattr(studio.keeper, "look", look)
    studio.keeper._run()
    assert len(looks) == 3


@pytest.mark.parametrize(("device", "waits"), [(None, True), ("cpu", False)])
def test_a_training_from_the_command_line_holds_up_its_device(
    studio: Studio, home: Home, device: str | None, waits: bool
) -> None:
    work = home.concepts / "theirs.run"
    work.mkdir()
    (work / "events.jsonl").write_text("")
    (work / "run.json").write_text(json.dumps({"configuration": {"device": device}}))
    (work / "lock").write_text(json.dumps(this_process()))
    job = add(studio, "ok")
    studio.keeper.look()
    assert (state(studio, job) == "queued") is waits
    (work / "lock").write_text(json.dumps(this_process() | {"started": "long ago"}))
    studio.places.forget()
    until(studio, lambda: state(studio, job) == "done")


def test_nothing_that_lies_in_the_folder_is_run(studio: Studio, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.root / "worker.py").write_text("print('{\"ok\": false}'); raise SystemExit(5)")
    (home.root / "json.py").write_text("raise SystemExit(5)")
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{os.pathsep}")
    job = add(studio, "ok")
    until(studio, lambda: state(studio, job) == "done")
