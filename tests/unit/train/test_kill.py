"""kill -9 at any moment and resume: the weights are bit-identical, also after several kills.

The processes are real and so is SIGKILL. Where it must hit a certain place of the commit protocol, the process kills
itself there; elsewhere the test kills it from outside, at moments that it sees in the folder or at random.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Lesson, Taught, blank, weights

from booth.config import RunConfig
from booth.core.errors import Interrupted
from booth.registry import METHODS
from booth.train import samples
from booth.train.run import train
from harness import slow

PRELOADED = ["booth.train.run", *(f"booth.methods.{name}" for name in METHODS)]
processes = multiprocessing.get_context("forkserver")  # imports torch once, then forks
processes.set_forkserver_preload(PRELOADED)

pytestmark = pytest.mark.usefixtures("no_samples")


def learn(config: RunConfig, kill_at: int = 0) -> None:
    """In a process of its own: train, and die at the `kill_at`-th time that the disk is told to keep something."""
    torch.set_num_threads(1)
    samples.draw = blank  # type: ignore[assignment]
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return counting

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    try:
        train(config)
    except Interrupted as error:
        raise SystemExit(error.exit_code) from error


def start(config: RunConfig, **options: Any) -> ForkServerProcess:
    process = processes.Process(target=learn, args=(config,), kwargs=options)
    process.start()
    return process


def code(process: ForkServerProcess) -> int | None:
    process.join(120)
    return process.exitcode


def resumed(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"resume": True})


def await_sight(process: ForkServerProcess, folder: Path, pattern: str) -> None:
    """Wait until a name appears, or the process has ended."""
    while process.is_alive() and not any(folder.glob(pattern)):
        time.sleep(0.0005)


@pytest.mark.parametrize("method", [slow("lora"), "two_stage"])  # what each kind of state holds is in test_resume.py
def test_killed_three_times_within_a_save(lesson: Lesson, taught: Taught, method: str) -> None:
    config = lesson(method, "killed", checkpoint_every=1)
    for kill_at in (3, 11, 17):  # a save has six or seven such places: within the first, the second and the third
        assert code(start(resumed(config), kill_at=kill_at)) == -signal.SIGKILL
    assert weights(train(resumed(config)).folder) == weights(taught(method).folder)


@pytest.mark.slow  # three of them are in the test above
def test_killed_at_every_place_of_a_save(lesson: Lesson, taught: Taught) -> None:
    expected = weights(taught().folder)
    for kill_at in range(7, 14):  # all of the second save
        config = lesson(out=f"killed-{kill_at}", checkpoint_every=1)
        assert code(start(config, kill_at=kill_at)) == -signal.SIGKILL
        assert weights(train(resumed(config)).folder) == expected, f"killed at place {kill_at}"


@pytest.mark.slow
def test_killed_at_every_other_place_of_writing_the_concept(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    expected = weights(taught().folder)
    config = lesson(out="killed", checkpoint_every=0)  # so that only the concept is committed
    for kill_at in range(1, 100, 2):
        ended = code(start(resumed(config), kill_at=kill_at))
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            break
        finished = (tmp_path / "killed").exists()
        assert not finished or weights(tmp_path / "killed") == expected
    else:
        pytest.fail("the run never ended")
    assert kill_at > 8
    assert weights(train(resumed(config)).folder) == expected
    assert not list(tmp_path.glob("killed.*"))


@pytest.mark.essential
def test_killed_from_outside_at_sight(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    saves = "out.run/checkpoints"
    moments = [(saves, "*.tmp-*"), (saves, "ckpt-000003"), (saves, "*.tmp-*"), (".", "out.tmp-*")]
    config = lesson("two_stage", checkpoint_every=1)
    for folder, pattern in moments:
        process = start(resumed(config))
        await_sight(process, tmp_path / folder, pattern)
        process.kill()
        assert code(process) in (0, -signal.SIGKILL)
    assert weights(train(resumed(config)).folder) == weights(taught("two_stage").folder)


@pytest.mark.slow
def test_killed_from_outside_at_random(lesson: Lesson, taught: Taught) -> None:
    config = lesson("dreambooth", checkpoint_every=1)
    moments = random.Random(0)
    for _ in range(4):
        process = start(resumed(config))
        process.join(moments.uniform(0.1, 1.0))
        process.kill()
        assert code(process) in (0, -signal.SIGKILL)
    assert weights(train(resumed(config)).folder) == weights(taught("dreambooth").folder)


@pytest.mark.essential
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(lesson: Lesson, tmp_path: Path, number: int, expected: int) -> None:
    config = lesson(checkpoint_every=1, steps=2000)
    process = start(config)
    await_sight(process, tmp_path / "out.run" / "checkpoints", "ckpt-*")
    assert process.pid is not None
    os.kill(process.pid, number)
    assert code(process) == expected
    names = sorted(p.name for p in (tmp_path / "out.run" / "checkpoints").iterdir())
    assert names
    assert all(len(name) == len("ckpt-000001") for name in names)
