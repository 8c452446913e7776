"""Stable Diffusion XL against straight-line diffusers code that shares none of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from safetensors.torch import load_file
from torch.nn import functional as F

from bases import write_base
from booth.core.batch import Batch
from booth.core.errors import BadDataError
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.train.loop import losses
from harness import make_method, write

PROMPTS = ["a photo of sks dog", "a cat on the beach"]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_one_steps_loss_equals_a_straight_line_reference(tmp_path: Path, kind: str):
    base = write_base("stable_diffusion_xl", tmp_path / "base", prediction_type=kind)
    rng = Rng(seed=5, step=2)
    latents = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))  # 16 pixels high, 24 wide
    ours = losses(load_family(str(base)), Batch(PROMPTS, latents, torch.full((2,), 0.5)), rng)

    pipe = StableDiffusionXLPipeline.from_pretrained(base)
    scheduler = DDPMScheduler.from_pretrained(base / "scheduler")
    t = (rng.uniform("timestep", 2) * scheduler.config.num_train_timesteps).long()
    noise = rng.normal("noise", latents)
    ids = pipe.tokenizer(
        PROMPTS, padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    first = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
    second = pipe.text_encoder_2(ids, output_hidden_states=True)
    told = {"text_embeds": second.text_embeds, "time_ids": torch.tensor([[16.0, 24, 0, 0, 16, 24]] * 2)}
    hidden = torch.cat([first, second.hidden_states[-2]], dim=-1)
    predicted = pipe.unet(scheduler.add_noise(latents, noise, t), t, hidden, added_cond_kwargs=told).sample
    target = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, t)
    assert ours.item() == pytest.approx(F.mse_loss(predicted, target).item(), rel=1e-5)


def test_one_file_holds_the_rows_of_both_encoders_under_the_names_that_others_read(tmp_path: Path):
    model = load_family(str(write_base("stable_diffusion_xl", tmp_path / "base")))
    method = make_method("textual_inversion", vectors=2)
    method.attach(model, 0)
    rows = load_file(write(model, method, tmp_path / "concept") / "learned_embeds.safetensors")
    assert {key: tuple(t.shape) for key, t in rows.items()} == {"clip_l": (2, 16), "clip_g": (2, 16)}


def test_nothing_to_avoid_is_the_zero_embedding(tmp_path: Path):
    model = load_family(str(write_base("stable_diffusion_xl", tmp_path / "base")))
    assert model.guided(4.0, "", 2) == {"guidance_scale": 4.0, "negative_prompt": None}
    assert model.guided(4.0, "a cat", 2)["negative_prompt"] == ["a cat", "a cat"]


def test_a_base_of_another_kind_is_named(tmp_path: Path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(BadDataError, match=r"KandinskyPipeline.*StableDiffusionXLPipeline"):
        load_family(str(tmp_path))
