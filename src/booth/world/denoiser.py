"""The embedded base's denoiser, trained through the same loop as every method: everything receives the gradient."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.method import MethodConfig, ParameterGroup
from booth.core.noising import Velocity
from booth.core.rng import Rng
from booth.train.loop import training_steps
from booth.train.timesteps.logit_normal import LogitNormal
from booth.train.update import Update
from booth.world.autoencoder import CHANNELS
from booth.world.fit import SAVE_EVERY, autocast_dtype, rate_at, read_state, write_state
from booth.world.pixels import to_unit
from booth.world.render import Factors
from booth.world.text_encoder import WIDTH
from booth.world.warp import SIDE

EMPTY_PROMPTS = 0.1  # classifier-free guidance (Ho & Salimans, 2207.12598)
SUBJECT = 3.0  # weight of a place within a subject's reach against one outside, where textures are mostly chance
# What an object is gets decided where there is about as much noise as signal, so that is where most steps are spent.
TIMESTEPS = LogitNormal(mean=-0.35, std=1.2)


def subject_weights(factors: list[Factors], side: int = 8) -> np.ndarray:
    """Weight of each latent in the loss, (N, 1, side, side) float16 of mean 1 a picture."""
    at = (np.arange(side) + 0.5) * SIDE / side
    weights = np.ones((len(factors), 1, side, side), np.float32)
    for row, picture in zip(weights, factors, strict=True):
        for o in picture.objects:
            reach = np.hypot(at[None, :] - o.x, at[:, None] - o.y) < o.size / 2 + SIDE / side / 2
            row[0][reach] = SUBJECT
    return (weights / weights.mean((2, 3), keepdims=True)).astype(np.float16)


def new_denoiser() -> UNet2DConditionModel:
    """Two levels, 8x8 and 4x4, both with attention to the prompt; 17 M parameters, 0.6 GFLOP a forward pass."""
    channels = (128, 256)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=tuple(c // 32 for c in channels),  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


class LatentPool:
    """A BatchSource over encoded pictures: posterior means and deviations (N, C, h, w) in half precision."""

    def __init__(
        self, mean: Tensor, std: Tensor, mask: Tensor, captions: list[str], scale: float, batch: int, device: str
    ) -> None:
        self.mean, self.std, self.mask, self.captions, self.scale = mean, std, mask, captions, scale
        self.batch, self.device = batch, device

    @classmethod
    def encode(
        cls,
        vae: AutoencoderKL,
        pictures: np.ndarray,
        captions: list[str],
        mask: np.ndarray,
        batch: int,
        device: str,
        file: Path,
    ) -> LatentPool:
        """Encode uint8 pictures once, into `file`; every step still draws a fresh latent from the posterior."""
        if not file.exists():
            means: list[Tensor] = []
            stds: list[Tensor] = []
            dtype = autocast_dtype(device)
            with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
                for i in range(0, len(pictures), 256):
                    dist = vae.encode(to_unit(pictures[i : i + 256]).to(device)).latent_dist
                    means.append(dist.mean.half().cpu())
                    stds.append(dist.std.half().cpu())
            write_state(file, {"mean": torch.cat(means), "std": torch.cat(stds)}, {})
        tensors, _ = read_state(file)
        scale = vae.config.scaling_factor
        return cls(tensors["mean"], tensors["std"], torch.from_numpy(mask), captions, scale, batch, device)

    def __call__(self, rng: Rng) -> Batch:
        index = rng.integers("pictures", len(self.captions), self.batch)
        empty = rng.uniform("empty prompt", self.batch) < EMPTY_PROMPTS
        prompts = ["" if e else self.captions[i] for i, e in zip(index.tolist(), empty.tolist(), strict=True)]
        mean = self.mean[index].float()
        latents = mean + self.std[index].float() * rng.normal("posterior", mean)
        weight = torch.full((self.batch,), 1 / self.batch, device=self.device)
        mask = self.mask[index].float().to(self.device)
        return Batch(prompts, (latents * self.scale).to(self.device), weight, mask=mask)


def train_denoiser(
    model: Family, pool: LatentPool, *, minutes: float, out: Path, learning_rate: float = 8e-4, device: str = "cpu"
) -> None:
    """Train every tensor of `model`'s denoiser in place and leave its moving average there.

    Progress is kept in `out/denoiser.safetensors` and `out/denoiser.jsonl`; an interrupted run goes on.
    """
    file = out / "denoiser.safetensors"
    unet = cast(UNet2DConditionModel, model.components()["unet"]).requires_grad_(True).train()
    if device == "cpu":
        # In bfloat16 the fused attention's backward pass takes a fifth of a step on a CPU; the plain one hardly any.
        unet.set_attn_processor(AttnProcessor())
        unet.to(memory_format=torch.channels_last)
    model.remember_embeddings(True, most=100_000)  # captions come again with every pass over the pool
    model.noising = Velocity(cast(Velocity, model.make_noising()).alphas_cumprod, timesteps=TIMESTEPS)
    config = MethodConfig(steps=10**9, learning_rate=learning_rate, ema=0.999, clip=1.0)
    update = Update([ParameterGroup("unet", dict(unet.named_parameters()), learning_rate, weight_decay=0.01)], config)
    start, spent = 0, 0.0
    if file.exists():
        tensors, values = read_state(file)
        update.load_state(tensors, values["update"])  # type: ignore[arg-type]
        start, spent = int(values["step"]), float(values["spent"])
    began = saved = reported = time.monotonic()
    shown: list[float] = []
    steps = training_steps(model, pool, update, seed=0, start=start, stop=10**9, autocast=autocast_dtype(device))
    while spent < minutes * 60:
        update.rate_scale = rate_at(spent / (minutes * 60))
        step = next(steps)
        shown.append(step.loss)
        now = time.monotonic()
        spent, began = spent + now - began, now
        if now - reported > 30:
            line = {
                "minutes": round(spent / 60, 2),
                "pictures": step.index * pool.batch,
                "loss": float(np.mean(shown)),
                "rate": step.learning_rate,
                "pictures_per_second": round(pool.batch / step.seconds, 1),
            }
            with (out / "denoiser.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(f"denoiser: {line}", file=sys.stderr, flush=True)
            reported, shown = now, []
        if now - saved > SAVE_EVERY or spent >= minutes * 60:
            tensors, values = update.state()
            write_state(file, tensors, {"step": step.index, "spent": spent, "update": values})
            saved = time.monotonic()
    for name, parameter in unet.named_parameters():
        parameter.data.copy_((update.ema or {})[name])
    unet.set_attn_processor(AttnProcessor2_0())
    model.freeze()
    model.remember_embeddings(False)
    model.noising = model.make_noising()
