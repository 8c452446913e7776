"""One run by two processes: the same global batch, the same loss, and checkpoints that one process goes on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from booth.config import RunConfig
from booth.core.threads import computing_with
from booth.events import read_events
from booth.train.checkpoints import read_checkpoint
from booth.train.run import train

pytest.importorskip("accelerate")
STEPS = 3


def asked(base: Path, photos: Path, out: Path, **more: Any) -> RunConfig:
    settings = {"steps": STEPS, "batch_size": 4, "rank": 2}
    known = {"photos": [photos], "noun": "dog", "base": str(base), "out": out, "keep_checkpoints": 1, "device": "cpu"}
    return RunConfig(**(known | {"settings": settings} | more))


def losses(out: Path) -> list[float]:
    return [event.data["loss"] for event in read_events(out / "run" / "events.jsonl") if event.kind == "step"]


def last(out: Path) -> Any:
    (folder,) = (out / "run" / "checkpoints").glob("ckpt-*")
    return read_checkpoint(folder)


@pytest.mark.essential
def test_two_processes_are_one_run(toy_base: Path, five_photos: Path, tmp_path: Path) -> None:
    alone, team = tmp_path / "alone", tmp_path / "team"
    with computing_with(1):
        train(asked(toy_base, five_photos, alone), samples=False)
    words = ["train", str(five_photos), "--class", "dog", "--base", str(toy_base), "--out", str(team), "--no-samples"]
    words += ["--steps", str(STEPS), "--set", "batch_size=4", "--set", "rank=2", "--set", "keep_checkpoints=1"]
    launch = ["--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += ["--dynamo_backend", "no", "--main_process_port", "0", "-m", "booth", *words, "--device", "cpu", "--json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert told.returncode == 0, told.stderr[-3000:]
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("{")]  # of the first process alone
    assert json.loads(line)["concept"] == str(team)
    assert losses(team) == pytest.approx(losses(alone), abs=1e-6)
    one, other = last(alone), last(team)
    assert one.tensors.keys() == other.tensors.keys()
    assert {n: t.shape for n, t in one.tensors.items()} == {n: t.shape for n, t in other.tensors.items()}
    assert one.values.keys() == other.values.keys()
    assert one.values["identity"] == other.values["identity"]
    for name, tensor in one.tensors.items():
        largest = max(float(tensor.abs().max()), 1e-12)
        assert float((tensor.float() - other.tensors[name].float()).abs().max()) <= 2e-3 * largest, name
    longer = {"resume": True, "settings": {"steps": STEPS + 1, "batch_size": 4, "rank": 2}}
    went_on = train(asked(toy_base, five_photos, team, **longer), samples=False)
    assert went_on.record.steps == STEPS + 1
