"""The embedded base's denoiser, trained through the same loop as every method: everything receives the gradient."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.method import MethodConfig, ParameterGroup
from booth.core.noising import Velocity
from booth.core.rng import Rng
from booth.train.loop import training_steps
from booth.train.timesteps.logit_normal import LogitNormal
from booth.train.update import Update
from booth.world.accessories import worn_within
from booth.world.autoencoder import CHANNELS, DEVIATION, encode
from booth.world.fit import SAVE_EVERY, autocast_dtype, rate_at, read_state, write_state
from booth.world.perceptual import BLOCKS, WIDTHS, PerceptualLoss
from booth.world.pixels import to_unit
from booth.world.pool import SHARD, PicturePool
from booth.world.render import Factors
from booth.world.text_encoder import WIDTH
from booth.world.warp import SIDE

EMPTY_PROMPTS = 0.1  # classifier-free guidance (Ho & Salimans, 2207.12598)
# Weights of a place within a subject's reach, and of what it wears, which is small and often stands above it, against
# one outside, where textures are mostly chance.
SUBJECT, WORN = 3.0, 6.0
# What an object is gets decided where there is about as much noise as signal, so that is where most steps are spent.
# Latents of 64 channels show it at more noise than those of 16 did, for which the mean was -0.35.
TIMESTEPS = LogitNormal(mean=0.1, std=1.2)
# Shapes are learnt from things that stand upright in the middle, before they come in every size, place and tilt.
UPRIGHT_FIRST, UPRIGHT_LATER = 0.4, 0.65  # share of the run that sees them alone; share of its pictures afterwards
ENCODED = 16  # pictures at once: on a CPU 64 take half as long again for each
ALIGNED = 10  # block of the frozen encoder whose features the denoiser is led to, 1/16 of a picture's side


def subject_weights(factors: list[Factors], side: int = 8) -> np.ndarray:
    """Weight of each latent in the loss, (N, 1, side, side) float16 of mean 1 a picture."""
    at = (np.arange(side) + 0.5) * SIDE / side
    weights = np.ones((len(factors), 1, side, side), np.float32)
    for row, picture in zip(weights, factors, strict=True):
        circles = [(SUBJECT, (o.x, o.y, o.size / 2)) for o in picture.objects]
        circles += [(WORN, worn_within(o.identity.glyph, o.accessory, o.pose)) for o in picture.objects if o.accessory]
        for weight, (x, y, radius) in circles:
            row[0][np.hypot(at[None, :] - x, at[:, None] - y) < radius + SIDE / side / 2] = weight
    return (weights / weights.mean((2, 3), keepdims=True)).astype(np.float16)


def is_upright(factors: Factors) -> bool:
    """Whether nothing in the picture is tilted, mirrored, small or off the middle; so is an empty scene."""
    return all(o.angle == 0 and not o.flip for o in factors.objects)


def upright_share(done: float) -> float:
    """Which share of a step's pictures is upright, once that share of the run is done."""
    return 1.0 if done < UPRIGHT_FIRST else UPRIGHT_LATER


def new_denoiser(latent_channels: int = CHANNELS) -> UNet2DConditionModel:
    """Two levels, 8x8 and 4x4, both with attention to the prompt; 17 M parameters, 0.6 GFLOP a forward pass."""
    channels = (128, 256)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        # Its name for the number of heads, one a level, and annotated as of one level alone.
        attention_head_dim=cast(tuple[int], tuple(c // 32 for c in channels)),
        norm_num_groups=16,
    )


class LatentPool:
    """A BatchSource over encoded pictures: latents (N, C, h, w) and a frozen encoder's features (N, D, 4, 4)."""

    def __init__(
        self,
        mean: Tensor,
        features: Tensor,
        pictures: list[Factors],
        captions: list[str],
        scale: float,
        batch: int,
        device: str,
    ) -> None:
        self.mean, self.features, self.captions, self.scale = mean, features, captions, scale
        self.mask = torch.from_numpy(subject_weights(pictures))
        self.batch, self.device = batch, device
        upright = torch.tensor([is_upright(factors) for factors in pictures])
        every = torch.arange(len(pictures))
        self.upright, self.others = (every[kind] if kind.any() else every for kind in (upright, ~upright))
        self.upright_share = 1.0  # of the pictures of a step; set by who trains
        self.shown = features[:0]  # of the last batch

    @classmethod
    def encode(
        cls, vae: AutoencoderKL, pictures: PicturePool, captions: list[str], batch: int, device: str, folder: Path
    ) -> LatentPool:
        """Encode the pictures once, a shard at a time, into `folder`; steps draw fresh latents from the posterior."""
        encoder = PerceptualLoss().to(device)
        dtype = autocast_dtype(device)
        parts: list[dict[str, Tensor]] = []
        for start in range(0, len(pictures), SHARD):
            file = folder / f"{start:08}.safetensors"
            if not file.exists():
                means: list[Tensor] = []
                seen: list[Tensor] = []
                for i in range(start, min(start + SHARD, len(pictures)), ENCODED):
                    pixels = to_unit(pictures[i : i + ENCODED]).to(device)
                    with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
                        means.append(encode(vae, pixels).mean.half().cpu())
                        found = encoder.features(pixels)[BLOCKS.index(ALIGNED)]  # (B, 112, 8, 8)
                        seen.append(F.avg_pool2d(found.float(), found.shape[-1] // 4).half().cpu())
                write_state(file, {"mean": torch.cat(means), "features": torch.cat(seen)}, {})
                print(f"latents: {start + SHARD} of {len(pictures)}", file=sys.stderr, flush=True)
            parts.append(read_state(file)[0])
        mean, features = (torch.cat([part[name] for part in parts])[: len(pictures)] for name in ("mean", "features"))
        return cls(mean, features, pictures.factors, captions, vae.config["scaling_factor"], batch, device)

    def __call__(self, rng: Rng) -> Batch:
        some = [rng.integers("pictures", len(kind), self.batch) for kind in (self.upright, self.others)]
        upright = rng.uniform("upright", self.batch) < self.upright_share
        index = torch.where(upright, self.upright[some[0]], self.others[some[1]])
        empty = rng.uniform("empty prompt", self.batch) < EMPTY_PROMPTS
        prompts = ["" if e else self.captions[i] for i, e in zip(index.tolist(), empty.tolist(), strict=True)]
        mean = self.mean[index].float()
        latents = mean + DEVIATION * rng.normal("posterior", mean)
        self.shown = self.features[index].float().to(self.device)
        weight = torch.full((self.batch,), 1 / self.batch, device=self.device)
        mask = self.mask[index].float().to(self.device)
        return Batch(prompts, (latents * self.scale).to(self.device), weight, mask=mask)


class Alignment(nn.Module):
    """Representation alignment (Yu et al., 2410.06940): what the denoiser's middle sees is led to a frozen encoder's.

    A head of three layers, needed in training only, predicts the clean picture's features (B, 112, 4, 4) from the
    middle of the U-Net; `weight` times one minus the cosine similarity is added to the loss.
    """

    def __init__(self, unet: UNet2DConditionModel, pool: LatentPool, weight: float) -> None:
        super().__init__()
        width = unet.config["block_out_channels"][-1]
        self.head = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.SiLU(), nn.Conv2d(2 * width, 2 * width, 1), nn.SiLU(),
            nn.Conv2d(2 * width, WIDTHS[BLOCKS.index(ALIGNED)], 1),
        )  # fmt: skip
        self.pool, self.weight, self.seen = pool, weight, torch.empty(0)
        self.hook = unet.mid_block.register_forward_hook(self._see)

    def _see(self, module: nn.Module, arguments: object, output: Tensor) -> None:
        self.seen = output

    def penalty(self) -> Tensor:
        """What is added to the loss of the batch that was predicted last."""
        guess = self.head(self.seen.float())
        return self.weight * (1 - F.cosine_similarity(guess, self.pool.shown, dim=1).mean())


def train_denoiser(
    model: Family,
    pool: LatentPool,
    *,
    seen: int,
    out: Path,
    learning_rate: float = 8e-4,
    alignment: float = 0.5,
    device: str = "cpu",
) -> None:
    """Train every tensor of `model`'s denoiser in place on `seen` pictures and leave its moving average there.

    Progress is kept in `out/denoiser.safetensors` and `out/denoiser.jsonl`; an interrupted run goes on, to the bit. The
    rate descends over the last two fifths, so `seen` can be raised, and the run go on, at any moment before.
    """
    file = out / "denoiser.safetensors"
    network = model.components()["unet"].requires_grad_(True).train()
    unet = cast(UNet2DConditionModel, network)
    if device == "cpu":
        # In bfloat16 the fused attention's backward pass takes a fifth of a step on a CPU; the plain one hardly any.
        unet.set_attn_processor(AttnProcessor())
        cast(Any, network).to(memory_format=torch.channels_last)  # which torch's annotations leave out
    model.remember_embeddings(True, most=200_000)  # captions come again with every pass over the pool
    model.noising = Velocity(cast(Velocity, model.make_noising()).alphas_cumprod, timesteps=TIMESTEPS)
    torch.manual_seed(0)
    aligned = Alignment(unet, pool, alignment).to(device)
    config = MethodConfig.model_validate({"steps": 10**9, "learning_rate": learning_rate, "ema": 0.999, "clip": 1.0})
    groups = [
        ParameterGroup(name, dict(module.named_parameters()), learning_rate, weight_decay=0.01)
        for name, module in (("unet", unet), ("alignment", aligned))
    ]
    update = Update(groups, config, penalty=aligned.penalty)
    start, spent, steps = 0, 0.0, seen // pool.batch
    if file.exists():
        tensors, values = read_state(file)
        update.load_state(tensors, values["update"])  # type: ignore[arg-type]
        start, spent = int(values["step"]), float(values["spent"])
    began = saved = reported = time.monotonic()
    shown: list[float] = []
    update.rate_scale = rate_at(start / steps)
    pool.upright_share = upright_share(start / steps)
    for step in training_steps(model, pool, update, seed=0, start=start, stop=steps, autocast=autocast_dtype(device)):
        pool.upright_share = upright_share(step.index / steps)
        update.rate_scale = rate_at(step.index / steps)  # of the next one
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
        if now - saved > SAVE_EVERY or step.index == steps:
            tensors, values = update.state()
            write_state(file, tensors, {"step": step.index, "spent": spent, "update": values})
            saved = time.monotonic()
    averages = update.ema or {}
    for name, parameter in unet.named_parameters():
        parameter.data.copy_(averages[name])
    aligned.hook.remove()
    unet.set_attn_processor(AttnProcessor2_0())
    model.freeze()
    model.remember_embeddings(False)
    model.noising = model.make_noising()
