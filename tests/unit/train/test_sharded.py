"""Two processes that each hold half of the denoiser: the losses, checkpoints and concepts of one that holds all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import booth
from booth.config import RunConfig
from booth.core.errors import UsageError
from booth.core.threads import computing_with
from booth.events import read_events
from booth.train.checkpoints import read_checkpoint
from booth.train.memory import plan_memory
from booth.train.run import train
from booth.train.sharding import ASKED, asks_for_shards, require_shardable
from booth.train.trainer import Trainer

STEPS = 3
# In this order; all but the last are finished, and the second goes on with what one process has begun.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"rank": 2, "steps": 2}),  # which asks the base for its own predictions
    "dreambooth": ("dreambooth", {"ema": 0.9, "accumulate": 2, "prior_weight": 0}),
    "controlnet": ("controlnet", {"steps": 2}),
    "stopped": ("dreambooth", {"ema": 0.9, "accumulate": 2, "prior_weight": 0}),
}


@dataclass
class Together:
    """Where the runs lie: those of two processes, and the same ones of one."""

    team: Path
    alone: Path
    told: list[list[dict[str, Any]]]  # by each process of each run


def asked(base: Path, photos: Path, out: Path, method: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {"steps": STEPS, "batch_size": 4} | settings
    kept = {"keep_checkpoints": 1, "checkpoint_every": 0, "device": "cpu", "settings": own}
    return {"photos": [str(photos)], "noun": "dog", "base": str(base), "out": str(out), "method": method} | kept | more


@pytest.fixture(scope="module")
def together(toy_base: Path, five_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Together:
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("sharded")
    team, alone = folder / "team", folder / "alone"
    runs = {name: asked(toy_base, five_photos, team / name, *what) for name, what in RUNS.items()}
    with computing_with(1):
        for name, what in RUNS.items():
            train(RunConfig(**asked(toy_base, five_photos, alone / name, *what)), samples=False)
        with Trainer(RunConfig(**runs["dreambooth"])) as begun:
            next(begun)
    runs["dreambooth"] |= {"resume": True}
    (folder / "runs.json").write_text(json.dumps(list(runs.values())))
    launch = ["--use_fsdp", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += ["--dynamo_backend", "no", "--main_process_port", "0"]
    launch += [str(Path(__file__).with_name("sharded_runs.py")), str(folder / "runs.json")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert told.returncode == 0, told.stderr[-3000:]
    found = [json.loads((folder / f"process-{rank}.json").read_text()) for rank in range(2)]
    return Together(team, alone, found)


def losses(out: Path) -> list[float]:
    folder = next(folder for folder in (out / "run", out.with_name(f"{out.name}.run")) if folder.is_dir())
    return [event.data["loss"] for event in read_events(folder / "events.jsonl") if event.kind == "step"]


def last(out: Path) -> Any:
    (folder,) = (out / "run" / "checkpoints").glob("ckpt-*")
    return read_checkpoint(folder)


@pytest.mark.slow
def test_each_process_holds_half_of_the_denoiser(together: Together) -> None:
    for told in together.told:
        assert [run["ended"] for run in told] == ["done", "done", "done", "stopped"]
        assert all(0.45 < run["held"] / run["values"] < 0.55 for run in told)
    for first, second in zip(*together.told, strict=True):
        assert first["held"] + second["held"] == first["values"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "dreambooth", "controlnet"])
def test_the_run_is_that_of_one_process(together: Together, name: str) -> None:
    team, alone = together.team / name, together.alone / name
    assert losses(team) == pytest.approx(losses(alone), abs=1e-6)
    one, other = last(alone), last(team)
    assert one.tensors.keys() == other.tensors.keys()
    assert one.values.keys() == other.values.keys()
    assert one.values["identity"] == other.values["identity"]
    for key, tensor in one.tensors.items():
        assert (tensor.shape, tensor.dtype) == (other.tensors[key].shape, other.tensors[key].dtype)
        largest = max(float(tensor.abs().max()), 1e-12)
        assert float((tensor.float() - other.tensors[key].float()).abs().max()) <= 2e-3 * largest, key


@pytest.mark.slow
def test_a_concept_is_written_whole(together: Together) -> None:
    team, alone = together.team / "dreambooth", together.alone / "dreambooth"
    weights = Path("unet/diffusion_pytorch_model.safetensors")
    one, other = load_file(alone / weights), load_file(team / weights)
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert float((tensor - other[key]).abs().max()) <= 2e-3 * max(float(tensor.abs().max()), 1e-12), key
    assert (team / "unet/config.json").read_text() == (alone / "unet/config.json").read_text()
    assert not list((team / "samples").glob("*.png"))
    assert booth.load(team).record.steps == STEPS


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_have_begun(together: Together, toy_base: Path, five_photos: Path) -> None:
    out = together.team / "stopped"
    begun = len(losses(out))
    assert 0 < begun < STEPS
    with computing_with(1):
        train(RunConfig(**asked(toy_base, five_photos, out, *RUNS["stopped"], resume=True)), samples=False)
    assert losses(out) == pytest.approx(losses(together.alone / "stopped"), abs=1e-6)


@pytest.mark.parametrize(
    ("method", "more", "code"),
    [
        ("dora", {}, "sharded.method"),
        ("dreambooth", {"settings": {"prior_weight": 0, "optimizer": "adamw8bit"}}, "sharded.optimizer"),
        ("dreambooth", {"settings": {"prior": "pictures"}}, "sharded.drawing"),
        ("lora", {"compile": True}, "sharded.compile"),
    ],
)
def test_what_needs_a_whole_denoiser_is_refused(
    toy_base: Path, five_photos: Path, tmp_path: Path, method: str, more: dict[str, Any], code: str
) -> None:
    config = RunConfig(**(asked(toy_base, five_photos, tmp_path / "out", method, {}) | more))
    with pytest.raises(UsageError) as error:
        plan_memory(config, "cpu", processes=2)
    assert error.value.code == code


def test_gradients_are_not_scaled(five_photos: Path, tmp_path: Path) -> None:
    config = RunConfig(**asked(tmp_path, five_photos, tmp_path / "out", "lora", {}))
    with pytest.raises(UsageError, match="fp16"):
        require_shardable(config, "fp16", [])


def test_the_memory_of_a_process_is_a_share(toy_base: Path, five_photos: Path, tmp_path: Path) -> None:
    config = RunConfig(**asked(toy_base, five_photos, tmp_path / "out", "dreambooth", {"prior_weight": 0}))
    alone, shared = plan_memory(config, "cpu"), plan_memory(config, "cpu", processes=4)
    assert shared.chosen.bytes < 0.5 * alone.chosen.bytes
    assert {plan.optimizer for plan in alone.plans} > {plan.optimizer for plan in shared.plans} == {None}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FSDP_OFFLOAD_PARAMS", "true"),
        ("FSDP_SHARDING_STRATEGY", "HYBRID_SHARD"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true"),
    ],
)
def test_what_a_launcher_asks_beside_is_honoured_or_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert not asks_for_shards()
    monkeypatch.setenv(ASKED, "true")
    with pytest.raises(UsageError, match=f"{variable}={value}"):
        asks_for_shards()
    monkeypatch.delenv(variable)
    assert asks_for_shards()
