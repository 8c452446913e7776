"""Adapters of one fleet take each other's place in a compiled pipeline of diffusers, and nothing is compiled again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from booth.core.file_names import LORA
from booth.executor.here import ThisProcess
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder


def draw(pipe: Any) -> torch.Tensor:
    how = {"num_inference_steps": 2, "output_type": "latent", "generator": torch.Generator().manual_seed(0)}
    with torch.no_grad():
        return pipe("a photo of a sks dog", **how).images


def pipeline(base: Path) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.slow
def test_adapters_are_swapped_without_compiling_again(
    asked: Callable[..., list[Entry]], subjects: Any, toy_base: Path, tmp_path: Path
) -> None:
    entries = asked(subjects("rex", "tom"), steps=3, learning_rate=0.05)
    place = Folder(tmp_path / "place")
    with ThisProcess() as here:
        run_fleet(entries, Fleet(evaluate=False, hot_swap=True), place, here, lambda text: None)
    lines = [json.loads(line) for line in (place.read("registry.jsonl") or b"").splitlines()]
    assert [line["rank"] for line in lines] == [2, 2]
    rex, tom = (str(Path(place.url) / line["folder"]) for line in sorted(lines, key=lambda line: line["name"]))

    serving = pipeline(toy_base)
    serving.enable_lora_hotswap(target_rank=2)
    serving.load_lora_weights(rex, weight_name=LORA, adapter_name="subject")
    serving.unet = torch.compile(serving.unet, backend="eager")
    first = draw(serving)
    with torch._dynamo.config.patch(error_on_recompile=True):
        serving.load_lora_weights(tom, weight_name=LORA, adapter_name="subject", hotswap=True)
        second = draw(serving)

    alone = pipeline(toy_base)
    alone.load_lora_weights(tom, weight_name=LORA)
    assert torch.allclose(second, draw(alone), atol=1e-4)
    assert not torch.allclose(second, first, atol=1e-3)
