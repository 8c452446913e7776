"""Checkpoints in a single file: recognised by their keys, opened without a network, one clear error for the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from booth.core.errors import BadDataError, BoothError, UnsafeFileError
from booth.core.noising import Velocity
from booth.families import single_file
from booth.families.loading import base_hash, load_family, resolve_base
from booth.families.single_file import FIRST, TELLING, corrections, identify
from booth.registry import FAMILIES
from booth.testing.toy import write_toy_base
from harness import tensors
from original_layout import original_layout


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
        (("conditioner.embedders.1.model.x", "edm_mean", "edm_std"), "the noise levels of EDM"),
        (("conditioner.embedders.1.model.x", "edm_vpred.sigma_max"), "the noise levels of EDM"),
        (("x", "y"), "no base that booth knows: its keys are x, y"),
    ],
)
def test_what_is_no_base_is_named(tmp_path: Path, keys: tuple[str, ...], told: str) -> None:
    with pytest.raises(BadDataError, match=told):
        identify(header(tmp_path / "x.safetensors", *keys))


def test_a_checkpoint_for_editing_is_refused(tmp_path: Path) -> None:
    keys = ("cond_stage_model.transformer.x", "model.diffusion_model.input_blocks.0.0.weight")
    with pytest.raises(BadDataError, match=r"editing, with 8 channels"):
        identify(header(tmp_path / "x.safetensors", *keys, channels=8))


def test_a_checkpoint_for_inpainting_is_told_nine_channels(checkpoint: Path) -> None:
    held = load_file(checkpoint)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    held[first] = torch.cat([held[first], torch.randn(len(held[first]), 5, 3, 3)], dim=1)
    save_file(held, checkpoint)
    model = load_family(str(checkpoint))
    assert model.inpaints
    assert torch.equal(model.components()["unet"].conv_in.weight, held[first])


def test_a_checkpoint_says_by_its_keys_that_it_predicts_velocity(checkpoint: Path) -> None:
    save_file(load_file(checkpoint), checkpoint)
    scheduler = resolve_base(str(checkpoint)) / "scheduler" / "scheduler_config.json"
    assert json.loads(scheduler.read_text())["prediction_type"] == "epsilon"
    for marks in ({"v_pred"}, {"v_pred", "ztsnr"}):
        save_file(load_file(checkpoint) | {mark: torch.zeros(0) for mark in marks}, checkpoint)
        model: Any = load_family(str(checkpoint))
        assert isinstance(model.noising, Velocity)
        zero = "ztsnr" in marks
        assert (float(model.scheduler.alphas_cumprod[-1]) == 0) == zero
        for name in ("ddim", "euler"):
            config = model.pipeline(name).scheduler.config
            assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", zero)
            assert (config.timestep_spacing == "trailing") == zero


def test_what_was_unpacked_with_another_configuration_is_unpacked_again(checkpoint: Path) -> None:
    save_file(load_file(checkpoint) | {"v_pred": torch.zeros(0)}, checkpoint)
    folder, wrong = resolve_base(str(checkpoint)), {"scheduler/scheduler_config.json": {"prediction_type": "sample"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_file, "corrections", lambda file, kind: wrong)
        assert resolve_base(str(checkpoint)) == folder
    kind: Any = FAMILIES["stable_diffusion"]
    with pytest.raises(BadDataError, match="prediction_type='sample'"):
        kind(folder)
    assert isinstance(load_family(str(checkpoint)).noising, Velocity)


@pytest.mark.parametrize(
    ("spread", "channels", "predicts", "side"),
    [(0.2, 4, "v_prediction", None), (0.02, 4, "epsilon", 64), (0.2, 9, "epsilon", 64)],
)
def test_versions_2_are_told_apart_by_a_tensor(
    tmp_path: Path, spread: float, channels: int, predicts: str, side: int | None
) -> None:
    first = torch.zeros(1, channels)
    held = {"cond_stage_model.model.x": torch.zeros(1), FIRST: first, TELLING: torch.tensor([-spread, spread]).half()}
    file = tmp_path / "x.safetensors"
    save_file(held, file)
    told = corrections(file, identify(file))
    assert told["scheduler/scheduler_config.json"] == {"prediction_type": predicts}
    assert told.get("unet/config.json", {}).get("sample_size") == side
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model_index.json").write_text("{}")
    assert corrections(file, identify(file)) == {}


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
