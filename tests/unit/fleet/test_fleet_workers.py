"""Real workers that are killed: processes of this machine, and actors of a local Ray cluster, to the same bits."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from booth.core.errors import NotAvailableError, UsageError
from booth.executor.here import ThisProcess
from booth.executor.job import Executor
from booth.executor.workers import make_executor
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder
from harness import slow

Asked = Callable[..., list[Entry]]
NO_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: booth[ray]")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find the package where these tests do."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def bits(place: Folder) -> dict[str, str]:
    files = [Path(place.url) / n for n in place.names() if n.endswith("pytorch_lora_weights.safetensors")]
    return {
        f"{file.parts[-4]} {name}": hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for file in files
        for name, tensor in load_file(file).items()
    }


def kill_when_saved(place: Folder, killed: list[int], stop: threading.Event) -> None:
    """SIGKILL the worker of whoever has a checkpoint in the place first, in the middle of its run."""
    while not stop.wait(0.01):
        for name in place.names("subjects"):
            if "/checkpoints/" not in name or not name.endswith("manifest.json"):
                continue
            state = place.read_json(f"{name.split('/checkpoints/')[0]}/state.json") or {}
            if state.get("owner"):
                killed.append(state["owner"]["pid"])
                os.kill(killed[0], signal.SIGKILL)
                return


@pytest.mark.essential
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("workers", [slow("2"), pytest.param("ray:2", marks=NO_RAY)])
def test_a_killed_worker_costs_nothing_but_time(
    workers: str, asked: Asked, subjects: Any, unmeasured: Fleet, tmp_path: Path, lines: list[str]
) -> None:
    entries = asked(subjects("rex", "tom"), steps=12)
    alone, place = Folder(tmp_path / "alone"), Folder(tmp_path / "place")
    with ThisProcess() as here:
        run_fleet(entries, unmeasured, alone, here, lines.append)
    killed: list[int] = []
    stop = threading.Event()
    with started(workers) as executor:
        if workers.startswith("ray"):
            require_closed()
        killer = threading.Thread(target=kill_when_saved, args=(place, killed, stop))
        killer.start()
        summary = run_fleet(entries, unmeasured, place, executor, lines.append)
        stop.set()
        killer.join()
    assert killed
    assert len(summary.done) == 2
    assert summary.failed == {}
    assert any("Its worker" in line for line in lines)
    assert bits(place) == bits(alone) != {}


def started(workers: str) -> Executor:
    """The workers; Ray takes itself for broken where its agents need more than 15 s to start."""
    try:
        return make_executor(workers)
    except NotAvailableError as error:
        if error.code == "ray.not_started":
            pytest.skip(f"Ray cannot be tried on so busy a machine. {error}")
        raise


def require_closed() -> None:
    """The cluster can be reached from this machine alone, and by who has the token."""
    import ray

    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) >= 32
    assert all(node["NodeManagerAddress"].startswith("127.") for node in ray.nodes())
    address: Any = ray.get_runtime_context().gcs_address
    assert address.startswith("127.")
    assert ray._private.worker._global_node.webui_url in (None, "")


@pytest.fixture
def driver(tmp_path: Path, toy_base: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """`booth fleet` in a process of its own, with two workers."""
    started: list[subprocess.Popen[str]] = []
    program = "from booth.cli.app import main\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / "program.py").write_text(program)

    def start() -> subprocess.Popen[str]:
        words = ["fleet", str(tmp_path / "photos"), "--out", str(tmp_path / "place"), "--workers", "2"]
        words += ["--class", "dog", "--base", str(toy_base), "--no-evaluation", "--set", "checkpoint_every=1"]
        words += ["--set", "steps=40", "--set", "batch_size=2", "--set", "rank=2"]
        command = [sys.executable, str(tmp_path / "program.py"), *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_a_killed_driver_is_started_again(
    driver: Callable[[], subprocess.Popen[str]], subjects: Any, tmp_path: Path
) -> None:
    subjects("rex", "tom")
    first = driver()
    await_checkpoint(tmp_path, first)
    first.kill()
    first.communicate()
    second = driver()
    out, told = second.communicate(timeout=240)
    assert second.returncode == 0, told
    assert out.strip().endswith("report.html")
    place = Folder(tmp_path / "place")
    assert len([n for n in place.names() if n.endswith("/done.json")]) == 2
    assert not [n for n in place.names() if "/checkpoints/" in n or n.endswith(("beat.json", "driver.json"))]


def await_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not list(folder.glob("place/subjects/*/*/checkpoints/*/manifest.json")):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


@pytest.mark.parametrize("workers", ["0", "many", "ray:0", "-1", "ray:"])
def test_workers_that_make_no_sense_are_refused(workers: str) -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        make_executor(workers)


def test_one_worker_is_this_process() -> None:
    executor: Executor = make_executor("1")
    assert isinstance(executor, ThisProcess)
