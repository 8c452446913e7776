"""Checkpoints in a single file: recognised by their keys, opened without a network, one clear error for the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from booth.core.errors import BadDataError, BoothError, UnsafeFileError
from booth.families.loading import base_hash, load_family, resolve_base
from booth.families.single_file import identify
from harness import tensors
from original_layout import original_layout
from toy import write_toy_base


def header(file: Path, *keys: str, channels: int = 4) -> Path:
    """A file with these keys and hardly any weights."""
    save_file({key: torch.zeros(1, channels) for key in keys}, file)
    return file


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny Stable Diffusion in one file, its configuration and tokenizer in a folder beside it."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    whole = write_toy_base(tmp_path / "whole")
    beside = tmp_path / "model"
    shutil.copytree(whole, beside, ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(original_layout(StableDiffusionPipeline.from_pretrained(whole)), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_checkpoint_has_the_very_weights_of_the_folder_it_came_from(checkpoint: Path) -> None:
    one, whole = load_family(str(checkpoint)), load_family(str(checkpoint.parent / "whole"))
    assert one.name == whole.name == "stable_diffusion"
    ours, theirs = tensors(one), tensors(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(one.embed(["a photo of sks dog"]).tokens, whole.embed(["a photo of sks dog"]).tokens)


def test_a_checkpoint_is_unpacked_once_and_has_its_own_hash(checkpoint: Path) -> None:
    folder = resolve_base(str(checkpoint))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    written = weights.stat().st_mtime_ns
    assert resolve_base(str(checkpoint)) == folder
    assert weights.stat().st_mtime_ns == written
    renamed = checkpoint.with_name("other.safetensors")
    shutil.copyfile(checkpoint, renamed)
    assert base_hash(resolve_base(str(renamed))) == base_hash(folder)

    weights.write_bytes(b"")  # damaged in the cache: made again
    load_family(str(checkpoint))
    assert weights.stat().st_size > 0


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        (("cond_stage_model.transformer.x", "model.diffusion_model.input_blocks.0.0.weight"), "stable_diffusion"),
        (("cond_stage_model.model.ln_final.weight", "first_stage_model.x"), "stable_diffusion"),
        (("conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.x"), "stable_diffusion_xl"),
        (("model.diffusion_model.joint_blocks.0.x_block.attn.x", "text_encoders.clip_l.x"), "stable_diffusion_3"),
        (("double_blocks.0.img_attn.qkv.weight", "guidance_in.in_layer.bias"), "flux"),
        (("model.diffusion_model.double_blocks.0.img_attn.qkv.weight",), "flux"),
    ],
)
def test_a_base_is_known_by_its_keys(tmp_path: Path, keys: tuple[str, ...], family: str) -> None:
    assert identify(header(tmp_path / "x.safetensors", *keys)).family == family


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("lora_unet_down_blocks_0.lora_down.weight",), "a LoRA, not a base"),
        (("transformer.transformer_blocks.0.attn.to_q.lora_A.weight",), "a LoRA, not a base"),
        (("control_model.input_hint_block.0.weight",), "a ControlNet"),
        (("clip_g", "clip_l"), "an embedding"),
        (("conditioner.embedders.0.model.transformer.x", "model.diffusion_model.x"), "refiner"),
        (("down_blocks.0.attentions.0.norm.weight", "conv_in.weight"), "one part of a base"),
        (("x", "y"), "no base that booth knows: its keys are x, y"),
    ],
)
def test_what_is_no_base_is_named(tmp_path: Path, keys: tuple[str, ...], told: str) -> None:
    with pytest.raises(BadDataError, match=told):
        identify(header(tmp_path / "x.safetensors", *keys))


def test_an_inpainting_checkpoint_is_refused(tmp_path: Path) -> None:
    keys = ("cond_stage_model.transformer.x", "model.diffusion_model.input_blocks.0.0.weight")
    with pytest.raises(BadDataError, match=r"inpainting.*9 channels"):
        identify(header(tmp_path / "x.safetensors", *keys, channels=9))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\x80\x02}q\x00."])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(UnsafeFileError, match="no pickled checkpoints"):
        load_family(str(file))


def test_a_folder_beside_it_of_another_kind_is_an_error(checkpoint: Path) -> None:
    index = checkpoint.parent / "model" / "model_index.json"
    index.write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(BadDataError, match=r"Stable Diffusion 1\.x, but .*model is flux"):
        load_family(str(checkpoint))


def test_a_checkpoint_that_lacks_a_tensor_is_refused(checkpoint: Path) -> None:
    held = load_file(checkpoint)
    del held["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    save_file(held, checkpoint)
    with pytest.raises(BadDataError, match=r"Stable Diffusion 1\.x by its keys but does not fit"):
        load_family(str(checkpoint))
    assert not list((checkpoint.parent / "cache").rglob("*.safetensors"))


def test_a_part_that_is_nowhere_is_named(checkpoint: Path) -> None:
    (checkpoint.parent / "model" / "unet" / "config.json").unlink()
    with pytest.raises(BoothError, match=r"model\.safetensors lacks a part"):
        load_family(str(checkpoint))
    assert not list((checkpoint.parent / "cache").rglob("*.safetensors"))
