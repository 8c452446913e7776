"""One training step's loss for each family, in straight lines of diffusers' and torch's own calls, none of them ours.

Random numbers are drawn as booth draws them; all that is made of them is made here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor
from torch.nn import functional as F

from bases import open_with_diffusers, side_of, write_base
from booth.core.batch import Batch
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.testing.toy import write_toy_base
from booth.train.loop import losses

PROMPTS = ["a photo of sks dog", "a cat on the beach"]
RNG = Rng(seed=5, step=2)


def one_step(family: str, prediction: str, folder: Path) -> tuple[float, float]:
    """The loss of one step on a tiny random base by booth and by the straight lines.

    `prediction` is epsilon, v_prediction or flow; pictures are half as wide again as they are high.
    """
    if family == "stable_diffusion":
        base = write_toy_base(folder / "base", prediction)
    else:
        options = {} if prediction == "flow" else {"prediction_type": prediction}
        base = write_base(family, folder / "base", **options)
    model = load_family(str(base))
    side = side_of(family)
    shape = model.encode(torch.zeros(2, 3, side, side * 3 // 2)).mean.shape
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours = losses(model, Batch(PROMPTS, latents, torch.full((2,), 0.5)), RNG)
    theirs = STRAIGHT[family](open_with_diffusers(base), latents)
    return ours.item(), theirs.item()


def stable_diffusion(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, target = diffused(pipe, latents)
    return F.mse_loss(pipe.unet(x_t, t, pipe.text_encoder(tokens(pipe.tokenizer))[0]).sample, target)


def stable_diffusion_xl(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, target = diffused(pipe, latents)
    first, second = by_clip(pipe.text_encoder, pipe.tokenizer), by_clip(pipe.text_encoder_2, pipe.tokenizer_2)
    told = {"text_embeds": second.text_embeds, "time_ids": torch.tensor([[16.0, 24, 0, 0, 16, 24]] * 2)}
    hidden = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    return F.mse_loss(pipe.unet(x_t, t, hidden, added_cond_kwargs=told).sample, target)


def diffused(pipe: Any, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, t and the target by the scheduler that Stable Diffusion is trained with."""
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    t = (RNG.uniform("timestep", 2) * scheduler.config.num_train_timesteps).long()
    noise = RNG.normal("noise", latents)
    epsilon = scheduler.config.prediction_type == "epsilon"
    return scheduler.add_noise(latents, noise, t), t, noise if epsilon else scheduler.get_velocity(latents, noise, t)


def noised(pipe: Any, latents: Tensor, mu: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, t and the noise, with the levels shifted and mixed by diffusers' scheduler."""
    levels = torch.sigmoid(torch.randn(2, generator=RNG.generator("timestep")))
    pipe.scheduler.set_timesteps(sigmas=levels.tolist(), mu=mu)
    t, noise = pipe.scheduler.timesteps, RNG.normal("noise", latents)
    return pipe.scheduler.scale_noise(latents, t, noise), t, noise


def tokens(tokenizer: Any, length: int | None = None) -> Tensor:
    most = length or tokenizer.model_max_length
    return tokenizer(PROMPTS, padding="max_length", max_length=most, truncation=True, return_tensors="pt").input_ids


def by_clip(encoder: Any, tokenizer: Any) -> Any:
    return encoder(tokens(tokenizer), output_hidden_states=True)


def mu_of(pipe: Any, patches: int) -> float:
    c = pipe.scheduler.config
    return calculate_shift(patches, c.base_image_seq_len, c.max_image_seq_len, c.base_shift, c.max_shift)


def stable_diffusion_3(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, None)
    first, second = by_clip(pipe.text_encoder, pipe.tokenizer), by_clip(pipe.text_encoder_2, pipe.tokenizer_2)
    clip = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    hidden = torch.cat([clip, pipe.text_encoder_3(tokens(pipe.tokenizer_3, 256))[0]], dim=-2)
    pooled = torch.cat([first.text_embeds, second.text_embeds], dim=-1)
    predicted = pipe.transformer(x_t, encoder_hidden_states=hidden, pooled_projections=pooled, timestep=t).sample
    return F.mse_loss(predicted, noise - latents)


def flux(pipe: Any, latents: Tensor) -> Tensor:
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
    return F.mse_loss(pipe._unpack_latents(predicted, 16, 24, 2), noise - latents)


def flux_2_klein(pipe: Any, latents: Tensor) -> Tensor:
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
    return F.mse_loss(pipe._unpack_latents_with_ids(predicted, ids, 4, 6), noise - latents)


def qwen_image(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    hidden, mask = pipe.encode_prompt(PROMPTS, "cpu")
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 8, 12),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, 4, 6)]] * 2,
    ).sample
    return F.mse_loss(pipe._unpack_latents(predicted, 16, 24, 2)[:, :, 0], noise - latents)


def z_image(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, None)
    hidden, _ = pipe.encode_prompt(list(PROMPTS), "cpu", do_classifier_free_guidance=False)
    predicted = pipe.transformer([x[:, None] for x in x_t], (1000 - t) / 1000, hidden).sample
    return F.mse_loss(-torch.stack(list(predicted))[:, :, 0], noise - latents)


def lumina_2(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, None)
    hidden, mask, *_ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False, device="cpu")
    predicted = pipe.transformer(x_t, 1 - t / 1000, hidden, mask).sample
    return F.mse_loss(-predicted, noise - latents)


def chroma(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    hidden, text_ids, mask, *_ = pipe.encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 8, 12),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32),
        attention_mask=torch.cat([mask, torch.ones(2, 4 * 6)], dim=1),
    ).sample
    return F.mse_loss(pipe._unpack_latents(predicted, 16, 24, 2), noise - latents)


def sana(pipe: Any, latents: Tensor) -> Tensor:
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=pipe.scheduler.config.flow_shift)
    x_t, t, noise = noised(pipe, latents, None)
    before = inspect.signature(pipe.__call__).parameters["complex_human_instruction"].default
    hidden, mask, *_ = pipe.encode_prompt(
        PROMPTS, do_classifier_free_guidance=False, device="cpu", complex_human_instruction=before
    )
    predicted = pipe.transformer(x_t, hidden, t, encoder_attention_mask=mask).sample
    return F.mse_loss(predicted, noise - latents)


def krea_2(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    hidden, mask = pipe.encode_prompt(PROMPTS, "cpu")
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 8, 12),
        encoder_hidden_states=hidden,
        timestep=t / 1000,
        position_ids=pipe.prepare_position_ids(hidden.shape[1], 4, 6, "cpu"),
        encoder_attention_mask=mask,
    ).sample
    return F.mse_loss(pipe._unpack_latents(predicted, 16, 24)[:, :, 0], noise - latents)


def ernie_image(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, None)
    hidden, lengths = pipe._pad_text(pipe.encode_prompt(PROMPTS, "cpu"), "cpu", torch.float32, 16)
    return F.mse_loss(pipe.transformer(x_t, t, hidden, lengths).sample, noise - latents)


def flux_2(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, compute_empirical_mu(4 * 6, 50))
    hidden, text_ids = pipe.encode_prompt(PROMPTS, "cpu")
    ids = pipe._prepare_latent_ids(x_t)
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        txt_ids=text_ids,
        img_ids=ids,
        guidance=torch.tensor([4.0, 4.0]),
    ).sample
    return F.mse_loss(pipe._unpack_latents_with_ids(predicted, ids), noise - latents)


def ideogram_4(pipe: Any, latents: Tensor) -> Tensor:
    mu = math.log(16 * 24 / 512**2) / 2
    levels = torch.sigmoid(mu + 1.5 * torch.randn(2, generator=RNG.generator("timestep")))
    pipe.scheduler.set_timesteps(sigmas=levels.tolist())
    t, noise = pipe.scheduler.timesteps, RNG.normal("noise", latents)
    x_t = pipe.scheduler.scale_noise(latents, t, noise).flatten(2).transpose(1, 2)
    hidden, places, segments, roles = pipe.encode_prompt(PROMPTS, 4, 6, 64, torch.device("cpu"))
    predicted = pipe.transformer(
        torch.cat([torch.zeros(2, 64, 16), x_t], dim=1), 1 - t / 1000, hidden, places, segments, roles
    ).sample
    return F.mse_loss(-predicted[:, 64:], (noise - latents).flatten(2).transpose(1, 2))


def qwen_image_2_1(pipe: Any, latents: Tensor) -> Tensor:
    x_t, t, noise = noised(pipe, latents, mu_of(pipe, 4 * 6))
    hidden, mask, pictures = pipe.encode_prompt(PROMPTS)
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(x_t, 2, 4, 4, 6),
        timestep=t / 1000,
        encoder_hidden_states=hidden,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, 4, 6)]] * 2,
        img_mask=torch.cat([pictures, pictures.new_ones(2, 6)], dim=1),
    ).sample[:, -24:]
    return F.mse_loss(pipe._unpack_latents(predicted, 64, 96, 16)[:, :, 0], noise - latents)


Straight = Callable[[Any, Tensor], Tensor]
STRAIGHT: dict[str, Straight] = {
    function.__name__: function
    for function in (
        *(stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux, flux_2_klein, qwen_image, z_image),
        *(lumina_2, chroma, sana, krea_2, ernie_image, flux_2, ideogram_4, qwen_image_2_1),
    )
}
DIFFUSING = ("stable_diffusion", "stable_diffusion_xl")
CASES = [
    (family, prediction)
    for family in STRAIGHT
    for prediction in (("epsilon", "v_prediction") if family in DIFFUSING else ("flow",))
]
