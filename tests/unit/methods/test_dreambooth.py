"""DreamBooth: what it trains, how little it writes, and that the base comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.families.loading import load_family
from harness import make_method, tensors, train, write


def test_it_trains_the_denoiser_alone_by_default(toy: Family):
    (group,) = make_method("dreambooth").attach(toy, 0)
    assert group.name == "unet"
    assert {id(p) for p in group.parameters.values()} == {id(p) for p in toy.components()["unet"].parameters()}
    assert toy.trainable_in("unet")
    assert not toy.trainable_in("text_encoder")
    assert not toy.trainable_in("vae")


def test_the_text_encoder_has_a_rate_of_its_own(toy: Family):
    method = make_method("dreambooth", train_text_encoder=True, learning_rate=1e-3, text_encoder_learning_rate=1e-5)
    rates = {g.name: g.learning_rate for g in method.attach(toy, 0)}
    assert rates == {"unet": 1e-3, "text_encoder": 1e-5}


def test_prior_preservation_is_on_by_default():
    for scale in ("tiny", "full"):
        assert make_method("dreambooth").defaults(scale)["prior_weight"] == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_base_in_half_precision_trains_in_float32_and_comes_back_bit_for_bit(toy_base: Path, dtype: torch.dtype):
    model = load_family(str(toy_base), dtype=dtype)
    before = {name: t.clone() for name, t in tensors(model).items()}
    method = make_method("dreambooth")
    (group,) = method.attach(model, 0)
    assert {p.dtype for p in group.parameters.values()} == {torch.float32}
    with torch.no_grad():
        for p in group.parameters.values():
            p.add_(1.0)
    method.detach(model)
    for name, t in tensors(model).items():
        assert t.dtype == before[name].dtype
        assert torch.equal(t, before[name]), name


def test_on_a_large_base_only_what_changed_is_written(toy: Family, tmp_path: Path):
    toy.scale = "full"
    method = make_method("dreambooth")
    train(toy, method, 1)
    folder = write(toy, method, tmp_path / "concept")
    assert {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} == {
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }


def test_only_one_fine_tuning_fits_into_a_model(toy: Family, tmp_path: Path):
    first = make_method("dreambooth")
    train(toy, first, 1)
    folder = write(toy, first, tmp_path / "concept")
    kept = {name: t.clone() for name, t in tensors(toy).items()}
    second = make_method("dreambooth", Subject("zwx", "cat"))
    with pytest.raises(UsageError, match="already holds the fine-tuning of 'sks dog'"):
        second.restore(toy, folder)
    second.detach(toy)  # it changed nothing, so it has nothing to take back
    assert all(torch.equal(t, kept[name]) for name, t in tensors(toy).items())
    first.detach(toy)
    second.restore(toy, folder)


def test_restore_names_a_folder_that_does_not_fit_and_changes_nothing(toy: Family, tmp_path: Path):
    method = make_method("dreambooth")
    with pytest.raises(BadDataError, match=r"unet holds no \.safetensors"):
        method.restore(toy, tmp_path)
    narrow = UNet2DConditionModel.from_config({**toy.components()["unet"].config, "block_out_channels": (8, 16)})
    narrow.save_pretrained(tmp_path / "unet")
    before = {name: t.clone() for name, t in tensors(toy).items()}
    with pytest.raises(BadDataError, match="does not fit"):
        make_method("dreambooth").restore(toy, tmp_path)
    assert all(torch.equal(t, before[name]) for name, t in tensors(toy).items())


def test_a_lora_concept_must_come_after_a_dreambooth_one(toy: Family, tmp_path: Path):
    trained = make_method("dreambooth")
    train(toy, trained, 1)
    folder = write(toy, trained, tmp_path / "concept")
    trained.detach(toy)
    adapter = make_method("lora")
    adapter.attach(toy, 0)
    with pytest.raises(BadDataError, match="name the DreamBooth concept first"):
        make_method("dreambooth").restore(toy, folder)
    adapter.detach(toy)
    make_method("dreambooth").restore(toy, folder)
    make_method("lora").attach(toy, 0)
