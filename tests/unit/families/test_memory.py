"""Memory plans: their bytes by hand, the activations by autograd, the counts by the loaded parts."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from bases import write_base
from booth.cli.doctor import _in_words
from booth.core.errors import BadDataError, UsageError
from booth.families.loading import load_family
from booth.families.memory import (
    Task,
    choose,
    choose_offload,
    drawing_bytes,
    memory_plans,
    native_side,
    parts_of,
    task_of,
    values_of_parts,
)
from booth.families.quantised import can_be_quantised
from booth.machine import examine
from booth.registry import FAMILIES, METHODS
from harness import make_method

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from kept_activations import BASES, bare, counted

HEADERS = {
    "unet": {
        "up_blocks.0.attentions.0.to_q.weight": [1000, 1000],
        "down_blocks.0.attentions.0.to_k.weight": [100, 1000],
        "conv_in.weight": [10, 10, 3, 3],
        "time_embedding.linear_1.weight": [100, 10],
    },
    "text_encoder": {"embeddings.token_embedding.weight": [500, 100], "layers.0.fc1.weight": [200, 100]},
    "vae": {"encoder.conv_in.weight": [10, 10, 3, 3]},
}
UNET, TEXT, VAE = 1_101_900, 70_000, 900
HALF = 100_000 + 900 + 1_000  # the encoder half of the U-Net
# two rows of 100x100 pixels in float32, by Stable Diffusion's count
ACTIVATIONS, CHECKPOINTED = 2 * (2_000_000 + 1599 * 10_000) * 4, 2 * 410 * 10_000 * 4
ADAPTER = Task(side=100, rows=2, over_quantised=True, device="cuda")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A Stable Diffusion of which there are the headers alone."""
    index = {"_class_name": "StableDiffusionPipeline"} | {part: ["diffusers", "Class"] for part in HEADERS}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part, shapes in HEADERS.items():
        header = {n: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for n, shape in shapes.items()}
        text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return tmp_path


def sizes(base: Path, task: Task) -> dict[str, int]:
    return {plan.name: plan.bytes for plan in memory_plans(base, task, 0)}


def test_the_plans_of_an_adapter_by_hand(base: Path) -> None:
    everything = UNET + TEXT + VAE
    assert sizes(base, ADAPTER) == {
        "fp32": 4 * everything + ACTIVATIONS,
        "fp32+freed": 4 * UNET + ACTIVATIONS,
        "bf16": 2 * (UNET + TEXT) + 4 * VAE + ACTIVATIONS,  # the autoencoder stays in float32
        "bf16+freed": 2 * UNET + ACTIVATIONS,
        "bf16+freed+checkpointing": 2 * UNET + CHECKPOINTED,
        # the 1,100,000 values of the U-Net's linear layers; the 1,900 others stay in bf16
        "int8+freed+checkpointing": 1_100_000 + 2 * 1_900 + CHECKPOINTED,
        # half a byte, 1/64 for the scale of 64 values, and 4/(64*256) for the scale of 256 scales
        "nf4+freed+checkpointing": round(1_100_000 * (0.5 + 1 / 64 + 4 / 16384)) + 2 * 1_900 + CHECKPOINTED,
    }


def test_the_plans_of_a_full_fine_tuning_by_hand(base: Path) -> None:
    task = Task(side=100, rows=2, trained=("denoiser",))
    kept = 16 * UNET  # the weight, its gradient and two moments, of 4 bytes each
    assert sizes(base, task) == {
        "fp32": 4 * (TEXT + VAE) + kept + ACTIVATIONS,
        "fp32+freed": kept + ACTIVATIONS,
        "bf16": 2 * TEXT + 4 * VAE + kept + ACTIVATIONS,
        "bf16+freed": kept + ACTIVATIONS,
        "bf16+freed+checkpointing": kept + CHECKPOINTED,
        "bf16+freed+checkpointing+adamw8bit": 10 * UNET + CHECKPOINTED,
    }
    both = sizes(base, Task(side=100, rows=2, trained=("denoiser", "text_encoders"), reads_prompts=True))
    assert both["fp32"] == 4 * VAE + 16 * (UNET + TEXT) + ACTIVATIONS
    assert both["fp32+freed"] == 16 * (UNET + TEXT) + ACTIVATIONS
    control = sizes(base, Task(side=100, rows=2, copies_encoder=True))
    assert control["fp32"] == 4 * (UNET + TEXT + VAE) + 16 * HALF + ACTIVATIONS


def test_an_autoencoder_that_was_made_for_less_is_held_in_less(base: Path) -> None:
    (base / "vae" / "config.json").write_text('{"force_upcast": false}')
    assert sizes(base, ADAPTER)["bf16"] == 2 * (UNET + TEXT + VAE) + ACTIVATIONS
    assert drawing_bytes(base, "bf16")["none"] == 2 * (UNET + TEXT + VAE)
    (base / "vae" / "config.json").write_text('{"force_upcast": true}')
    assert drawing_bytes(base, "bf16")["none"] == 2 * (UNET + TEXT) + 4 * VAE


@pytest.mark.parametrize(
    ("task", "first"),
    [
        (Task(side=100, device="cuda", activation=2), "bf16"),
        (Task(side=100, device="cuda", activation=2, half="fp16"), "fp16"),
        (Task(side=100, device="cuda", activation=2, copies_encoder=True), "bf16"),
        (Task(side=100, device="cuda", activation=2, trained=("denoiser",)), "fp32"),
        (Task(side=100, device="cuda", activation=4), "fp32"),
        (Task(side=100, device="cpu", activation=2), "fp32"),
    ],
)
def test_frozen_weights_are_in_half_precision_on_a_gpu_that_computes_in_it(base: Path, task: Task, first: str) -> None:
    """Else each of them would be cast at every step."""
    plans = memory_plans(base, task, 10**12)
    assert choose(plans).name == first
    assert choose(plans, base_precision="fp32").name == "fp32", "float32 can be asked for"
    assert {plan.base_precision for plan in plans} >= {"fp32", task.half}


def test_the_hungriest_moment_may_be_that_of_drawing(base: Path) -> None:
    found = sizes(base, Task(side=100, activation=0))
    assert found["fp32"] == found["fp32+freed"] == 4 * (UNET + TEXT + VAE)
    tuned = sizes(base, Task(side=100, activation=0, trained=("denoiser",), optimizer="prodigy"))
    assert tuned["fp32+freed"] == 24 * UNET, "all four moments and the gradient are there while it trains"


def test_what_reads_prompts_keeps_its_text_encoders(base: Path) -> None:
    found = sizes(base, Task(side=100, rows=2, reads_prompts=True))
    assert found["fp32"] - found["fp32+freed"] == 4 * VAE


def test_settings_that_are_fixed_stay(base: Path) -> None:
    fixed = Task(side=100, rows=2, trained=("denoiser",), optimizer="adamw8bit", gradient_checkpointing=False)
    assert sizes(base, fixed) == {
        "fp32": 4 * (TEXT + VAE) + 10 * UNET + ACTIVATIONS,
        "fp32+freed": 10 * UNET + ACTIVATIONS,
        "bf16": 2 * TEXT + 4 * VAE + 10 * UNET + ACTIVATIONS,
        "bf16+freed": 10 * UNET + ACTIVATIONS,
    }
    method = make_method("lora", batch_size=3, prior_weight=1.0, gradient_checkpointing=True)
    task = task_of(method, ["gradient_checkpointing"], side=64)
    assert (task.rows, task.gradient_checkpointing, task.optimizer, task.reads_prompts) == (6, True, None, False)


@pytest.mark.parametrize(
    ("name", "settings", "trained", "reads", "quantised"),
    [
        ("lora", {}, (), False, True),
        ("lora", {"train_text_encoder": True}, (), True, True),
        ("dora", {}, (), False, False),
        ("loha", {}, (), False, False),
        ("textual_inversion", {}, (), True, True),
        ("dreambooth", {}, ("denoiser",), False, False),
        ("dreambooth", {"train_text_encoder": True}, ("denoiser", "text_encoders"), True, False),
        ("two_stage", {}, ("denoiser",), True, False),
        ("two_stage", {"second": "lora"}, (), True, True),
        ("custom_diffusion", {}, (), True, False),
    ],
)
def test_each_method_tells_what_it_takes(
    name: str, settings: dict[str, Any], trained: tuple[str, ...], reads: bool, quantised: bool
) -> None:
    task = task_of(make_method(name, **settings), [], side=64)
    assert (task.trained, task.reads_prompts, task.over_quantised) == (trained, reads, quantised)


def test_the_first_plan_that_fits_and_can_be_taken_is_chosen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    known = sizes(base, ADAPTER)
    for name, needed in known.items():
        assert choose(memory_plans(base, ADAPTER, needed)).name == name
        assert choose(memory_plans(base, ADAPTER, needed - 1)).name != name or name == list(known)[-1]
    least = choose(memory_plans(base, ADAPTER, 1))
    assert (least.name, least.fits) == ("nf4+freed+checkpointing", False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = memory_plans(base, ADAPTER, known["nf4+freed+checkpointing"])
    assert choose(without).name == "bf16+freed+checkpointing"
    assert without[-1].fits
    assert without[-1].missing == 'needs bitsandbytes: pip install "booth[gpu]"'
    on_cpu = memory_plans(base, Task(side=100, over_quantised=True), 1)
    assert on_cpu[-1].missing == "needs a CUDA device"


def test_a_plan_is_taken_as_asked(base: Path) -> None:
    plans = memory_plans(base, ADAPTER, 10**12)
    assert choose(plans, "bf16+freed").name == "bf16+freed"
    assert choose(plans, base_precision="bf16").name == "bf16"
    assert choose(memory_plans(base, ADAPTER, 1), base_precision="bf16").name == "bf16+freed+checkpointing"
    assert choose(plans, base_precision="nf4").name == "nf4+freed+checkpointing"
    with pytest.raises(UsageError, match=r"no plan memory=tiny.*auto, fp32, fp32\+freed"):
        choose(plans, "tiny")
    with pytest.raises(UsageError, match="memory=bf16 with base_precision=fp32"):
        choose(plans, "bf16", "fp32")
    with pytest.raises(UsageError, match="base_precision=nf4"):
        choose(memory_plans(base, Task(side=100), 1), base_precision="nf4")


def test_parts_take_turns_where_all_of_them_are_too_much(base: Path) -> None:
    needed = {"none": 4 * (UNET + TEXT + VAE), "model": 4 * UNET, "sequential": 4 * 1_000_000}
    assert drawing_bytes(base) == needed
    assert [choose_offload(base, room) for room in needed.values()] == list(needed)
    assert choose_offload(base, 1) == "sequential"


@pytest.mark.parametrize("family", ["stable_diffusion", "flux", "qwen_image", "lumina_2", "sana"])
def test_the_headers_count_what_the_loaded_parts_hold(family: str, toy_base: Path, tmp_path: Path) -> None:
    folder = toy_base if family == "stable_diffusion" else write_base(family, tmp_path / "base")
    model = load_family(str(folder))
    parts = parts_of(folder)
    assert native_side(folder) == model.resolution
    for name, module in model.components().items():
        linear = [m for n, m in module.named_modules() if isinstance(m, nn.Linear) and can_be_quantised(n)]
        counted = sum(layer.weight.numel() for layer in linear)
        assert parts[name].linear == (0 if name == "vae" else counted)
        assert parts[name].values == sum(t.numel() for t in module.state_dict().values()) - _tied(module)
    assert parts[next(iter(model.components()))].linear > 0
    assert values_of_parts(folder) == {name: part.values for name, part in parts.items()}


def _tied(module: nn.Module) -> int:
    """Values that a state dict names twice and a file holds once."""
    tensors = module.state_dict(keep_vars=True).values()
    return sum(t.numel() for t in tensors) - sum(t.numel() for t in {id(t): t for t in tensors}.values())


@pytest.mark.parametrize("family", ["stable_diffusion", "sana"])
def test_the_activations_are_those_that_autograd_keeps(family: str) -> None:
    model = bare(family)
    for checkpointing, (fixed, per_pixel) in FAMILIES[family].kept.items():
        assert fixed + per_pixel * 768**2 == pytest.approx(counted(model, 768, checkpointing), rel=0.01)


def test_every_family_has_the_activations_that_were_counted() -> None:
    counts = json.loads((Path(__file__).parents[3] / "results" / "kept_activations.json").read_text())
    assert list(counts) == list(FAMILIES) == list(BASES)
    for family, row in counts.items():
        for checkpointing, name in ((False, "plain"), (True, "checkpointing")):
            fixed, per_pixel = FAMILIES[family].kept[checkpointing]
            assert fixed == pytest.approx(row[name]["fixed"], abs=0.5e6), family
            assert per_pixel == pytest.approx(row[name]["per_pixel"], abs=0.5), family


def test_a_base_without_its_configuration_is_named(base: Path) -> None:
    with pytest.raises(BadDataError, match=r"unet/config\.json cannot be read"):
        native_side(base)


def test_the_doctor_lists_every_plan_and_the_one_it_would_take(toy_base: Path) -> None:
    findings = examine(str(toy_base))
    told = findings["base"]
    assert told["family"] == "stable_diffusion"
    assert told["advice"] is None
    assert sorted(m for kind in told["plans"] for m in kind["methods"]) == sorted(METHODS)
    lora = next(kind for kind in told["plans"] if "lora" in kind["methods"])
    assert lora["chosen"] == "fp32"
    assert [plan["name"] for plan in lora["plans"]][:2] == ["fp32", "fp32+freed"]
    assert all(plan["fits"] for plan in lora["plans"])
    words = "\n".join(_in_words(findings))
    assert "* fp32: " in words
    assert "nf4+freed+checkpointing: " in words
    assert "needs a CUDA device" in words
