"""The families of flow matching against straight-line diffusers code that shares none of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor

from bases import SIDE, write_base
from booth.core.batch import Batch
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.train.loop import losses

PROMPTS = ["a photo of sks dog", "a cat on the beach"]
RNG = Rng(seed=5, step=2)


def latents_of(model: Family) -> Tensor:
    """Random latents of pictures 16 pixels high and 24 wide."""
    shape = model.encode(torch.zeros(2, 3, SIDE, SIDE * 3 // 2)).mean.shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def noised(pipe: Any, latents: Tensor, mu: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, t and the noise, with the levels shifted and mixed by diffusers' scheduler."""
    levels = torch.sigmoid(torch.randn(2, generator=RNG.generator("timestep")))
    pipe.scheduler.set_timesteps(sigmas=levels.tolist(), mu=mu)
    t, noise = pipe.scheduler.timesteps, RNG.normal("noise", latents)
    return pipe.scheduler.scale_noise(latents, t, noise), t, noise


def tokens(tokenizer: Any, length: int) -> Tensor:
    return tokenizer(PROMPTS, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


def by_clip(encoder: Any, tokenizer: Any) -> Any:
    return encoder(tokens(tokenizer, tokenizer.model_max_length), output_hidden_states=True)


def mu_of(pipe: Any, patches: int) -> float:
    c = pipe.scheduler.config
    return calculate_shift(patches, c.base_image_seq_len, c.max_image_seq_len, c.base_shift, c.max_shift)


def stable_diffusion_3(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    x_t, t, noise = noised(pipe, latents, None)
    first, second = by_clip(pipe.text_encoder, pipe.tokenizer), by_clip(pipe.text_encoder_2, pipe.tokenizer_2)
    clip = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    hidden = torch.cat([clip, pipe.text_encoder_3(tokens(pipe.tokenizer_3, 256))[0]], dim=-2)
    pooled = torch.cat([first.text_embeds, second.text_embeds], dim=-1)
    predicted = pipe.transformer(x_t, encoder_hidden_states=hidden, pooled_projections=pooled, timestep=t).sample
    return predicted, noise


def flux(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 8, 12),
        timestep=t / 1000,
        guidance=torch.tensor([3.5, 3.5]),
        pooled_projections=by_clip(pipe.text_encoder, pipe.tokenizer).pooler_output,
        encoder_hidden_states=pipe.text_encoder_2(tokens(pipe.tokenizer_2, 512))[0],
        txt_ids=torch.zeros(512, 3),
        img_ids=pipe._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32),
    ).sample
    return pipe._unpack_latents(predicted, 16, 24, 2), noise


def flux_2_klein(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    x_t, t, noise = noised(pipe, latents, compute_empirical_mu(4 * 6, 50))
    hidden, text_ids = pipe.encode_prompt(PROMPTS, "cpu")
    ids = pipe._prepare_latent_ids(x_t)
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        txt_ids=text_ids,
        img_ids=ids,
        guidance=None,
    ).sample
    return pipe._unpack_latents_with_ids(predicted, ids, 4, 6), noise


def qwen_image(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    hidden, mask = pipe.encode_prompt(PROMPTS, "cpu")
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 8, 12),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, 4, 6)]] * 2,
    ).sample
    return pipe._unpack_latents(predicted, 16, 24, 2)[:, :, 0], noise


def z_image(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    x_t, t, noise = noised(pipe, latents, None)
    hidden, _ = pipe.encode_prompt(list(PROMPTS), "cpu", do_classifier_free_guidance=False)
    predicted = pipe.transformer([x[:, None] for x in x_t], (1000 - t) / 1000, hidden).sample
    return -torch.stack(list(predicted))[:, :, 0], noise


Reference = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
REFERENCES: list[Reference] = [stable_diffusion_3, flux, flux_2_klein, qwen_image, z_image]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda function: function.__name__)
def test_one_steps_loss_equals_a_straight_line_reference(reference: Reference, tmp_path: Path) -> None:
    base = write_base(reference.__name__, tmp_path / "base")
    model = load_family(str(base))
    latents = latents_of(model)
    ours = losses(model, Batch(PROMPTS, latents, torch.full((2,), 0.5)), RNG)
    predicted, noise = reference(diffusers.DiffusionPipeline.from_pretrained(base), latents)
    assert ours.item() == pytest.approx((predicted - (noise - latents)).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("family", ["flux", "flux_2_klein", "qwen_image", "z_image"])
def test_what_is_encoded_is_decoded_by_the_pipelines_rule(family: str, tmp_path: Path) -> None:
    """Latents go through the pipeline's last lines and come out as the autoencoder's own reconstruction."""
    base = write_base(family, tmp_path / "base")
    model, pipe = load_family(str(base)), diffusers.DiffusionPipeline.from_pretrained(base)
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean = model.encode(pixels).mean
    if family == "flux":
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
    elif family == "flux_2_klein":
        mean = mean.flatten(2).transpose(1, 2)
    elif family == "qwen_image":
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
    pipe.scheduler.step = lambda predicted, t, latents, return_dict: (start(latents),)

    def start(latents: Tensor) -> Tensor:
        assert latents.shape == mean.shape
        return mean

    options = {"height": SIDE, "width": SIDE, "num_inference_steps": 1, "output_type": "pt"}
    drawn = pipe(prompt=PROMPTS[:1], **options).images
    with torch.no_grad():
        frames = pixels[:, :, None] if family == "qwen_image" else pixels
        own = pipe.vae.decode(pipe.vae.encode(frames).latent_dist.mode()).sample
    own = own[:, :, 0] if family == "qwen_image" else own
    assert torch.allclose(drawn, (own / 2 + 0.5).clamp(0, 1), atol=1e-5)


def test_schnell_is_told_no_guidance(tmp_path: Path) -> None:
    model = load_family(str(write_base("flux", tmp_path / "base", guidance_embeds=False)))
    latents = latents_of(model)
    predicted = model.predict(latents, torch.tensor([100.0, 900.0]), model.embed(PROMPTS))
    assert predicted.shape == latents.shape


def test_what_flow_matching_has_not_is_refused(tmp_path: Path) -> None:
    model = load_family(str(write_base("flux", tmp_path / "base")))
    with pytest.raises(UsageError, match=r"FLUX\.1.*min_snr_gamma"):
        model.make_noising(5.0)
    with pytest.raises(UsageError, match=r"FLUX\.1 takes no negative prompt"):
        model.guided(3.5, "a cat", 1)
    with pytest.raises(UsageError, match=r"'ddim'.*euler"):
        model.pipeline("ddim")
    assert model.multiple == 4
