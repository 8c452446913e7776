"""diffusers' own layout, against what its loader makes of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.export.base_files import BaseFiles
from booth.export.exporter import Job
from booth.export.layer import Layer
from booth.export.lora.diffusers import Diffusers
from booth.export.lora.read import named_layers
from booth.export.parts import Parts

QUERY, KERNEL = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.resnets.0.conv1"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"


def parts(base: BaseFiles, dora: bool) -> Parts:
    """A linear layer, a convolution of another rank and scale, and one of the text encoder."""
    generator = torch.Generator().manual_seed(0)

    def layer(component: str, module: str, rank: int, scale: float) -> Layer:
        weight = base.tensors(component)[f"{module}.weight"].float()
        out, *inner = weight.shape
        down = torch.randn(rank, *inner, generator=generator) / 9
        up = torch.randn(out, rank, *[1] * (len(inner) - 1), generator=generator) / 9
        return Layer({"down": down, "up": up}, scale, 1.7 * weight.flatten(1).norm(dim=1) if dora else None)

    unet = {QUERY: layer("unet", QUERY, 4, 0.5), KERNEL: layer("unet", KERNEL, 2, 3.0)}
    return Parts(layers={"unet": unet, "text_encoder": {TEXT: layer("text_encoder", TEXT, 4, 2.0)}})


@pytest.fixture
def job(lora: Concept, toy_base: Path, request: pytest.FixtureRequest) -> Job:
    base = BaseFiles(toy_base)
    return Job(lora.folder, lora.record, parts(base, getattr(request, "param", False)), base)


def write(job: Job, file: Path) -> None:
    exporter = Diffusers()
    exporter.write(job, exporter.tensors(job), file, {})


@pytest.mark.parametrize("job", [False, True], ids=["lora", "dora"], indirect=True)
def test_the_pipeline_computes_what_was_trained_in_denoiser_and_text_encoder(job: Job, toy_base: Path, here: Path):
    write(job, here / "x.safetensors")
    check = Diffusers().check(job, here / "x.safetensors")
    assert check.passed
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    pipe.load_lora_weights(here, weight_name="x.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    models = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    for component, modules in job.parts.layers.items():
        live = {name.removeprefix("text_model."): t for name, t in models[component].state_dict().items()}
        for module, layer in modules.items():
            weight = job.base_state(component)[f"{module}.weight"]
            merged = live[f"{module.removeprefix('text_model.')}.weight"]
            assert torch.allclose(merged.double(), weight + layer.change(weight), atol=1e-5), module
            assert not torch.allclose(merged, weight, atol=1e-2)


@pytest.mark.parametrize("job", [True], indirect=True)
def test_it_comes_back_as_it_went_and_the_check_needs_the_headers_word(job: Job, here: Path):
    write(job, here / "x.safetensors")
    with safe_open(here / "x.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(here / "x.safetensors")
    layers, unknown = named_layers(tensors, metadata)
    assert unknown == []
    for component, modules in job.parts.layers.items():
        for module, layer in modules.items():
            weight = job.base_state(component)[f"{module}.weight"]
            assert torch.equal(layers[component][module].change(weight), layer.change(weight))
    settings: dict[str, Any] = json.loads(metadata["lora_adapter_metadata"])
    plain = {name: value for name, value in settings.items() if not name.endswith("use_dora")}
    save_file(tensors, here / "plain.safetensors", {"lora_adapter_metadata": json.dumps(plain)})
    assert not Diffusers().check(job, here / "plain.safetensors").passed


@pytest.mark.parametrize(
    ("family", "advice"),
    [("stable_diffusion", "`to=kohya`"), ("flux", "`to=checkpoint`"), ("z_image", "Draw with it here")],
)
def test_what_cannot_be_written_is_told_with_a_way_that_there_is(family: str, advice: str, job: Job):
    whole = Layer({"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(8, 8)})
    record = job.record.model_copy(update={"family": family})
    other = Job(job.folder, record, Parts(layers={"unet": {QUERY: whole}}), None)
    with pytest.raises(UsageError, match=advice):
        Diffusers().tensors(other)
