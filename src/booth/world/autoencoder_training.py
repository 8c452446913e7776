"""Train the embedded base's autoencoder from its linear code on, and sharpen its decoder.

Encoder and decoder learn together against pixels and a frozen network's features. At last the encoder is kept and the
decoder alone goes on against a critic (`sharpen_decoder`), so that what a denoiser has learned of the latents stays
true.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from booth.core.rng import Rng
from booth.world.autoencoder import DEVIATION, decode, encode, move, reduction
from booth.world.fit import fit
from booth.world.linear_code import set_linear_encoder, set_smooth_decoder
from booth.world.perceptual import Critic, PerceptualLoss, distance
from booth.world.pixels import to_unit

ROWS = 6  # crops a step
ADVERSARIAL = 0.3  # pull of the critic at the decoder's last layer, against that of pixels and features together


def crops(diet: list[np.ndarray], rng: Rng, rows: int, size: int, cell: int) -> tuple[Tensor, np.ndarray]:
    """Random crops (rows, 3, size, size) in [-1, 1], mirrored or not, and the pool that each row comes from."""
    pools, x = np.arange(rows) % len(diet), []
    for row, pool in enumerate(pools):
        index = int(rng.integers(f"row{row}", len(diet[pool]), 1))
        steps = (diet[pool].shape[1] - size) // cell + 1
        top, left = (rng.integers(f"crop{row}", steps, 2) * cell).tolist()
        x.append(diet[pool][index][top : top + size, left : left + size])
    target = to_unit(np.stack(x))
    flip = rng.uniform("flip", rows) < 0.5
    target[flip] = target[flip].flip(-1)
    return target, pools


def train_autoencoder(
    vae: AutoencoderKL, diet: list[np.ndarray], *, steps: int, out: Path, name: str = "autoencoder", device: str = "cpu"
) -> AutoencoderKL:
    """Learn on equal shares of each pool of `diet`, uint8 (N, side, side, 3): first the decoder, then both halves.

    For the first fifth of the steps the encoder stays the linear code and the decoder learns to undo it, by squares,
    on crops of half the side. Then both learn, by pixels, edges and features; on whole pictures in every third step and
    in the last tenth.
    """
    cell, side = reduction(vae), diet[0].shape[1]
    sample = to_unit(np.concatenate([pool[:500] for pool in diet]))
    set_linear_encoder(vae, sample)
    set_smooth_decoder(vae, sample[::10])
    move(vae, device)
    vae.encoder.requires_grad_(False)

    def undo(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        target, pools = crops(diet, rng, ROWS, side // 2, cell)
        target = target.to(device)
        with torch.no_grad():
            z = encode(vae, target).mean
        error = decode(vae, z + DEVIATION * rng.normal("posterior", z)).float() - target
        return error.pow(2).mean() + 0.1 * error.abs().mean(), _psnrs(error, pools)

    alone = steps // 5
    fit(f"{name}-decoder", vae.decoder, undo, steps=alone, out=out, learning_rate=4e-4, weight_decay=0, device=device)
    vae.encoder.requires_grad_(True)
    perceptual = PerceptualLoss().to(device)

    def learn(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(1, step)
        # Normalisation over a crop sees less than over a picture, so both must be seen.
        whole = step % 3 == 2 or step > 0.9 * (steps - alone)
        target, pools = crops(diet, rng, len(diet) if whole else ROWS, side if whole else side // 2, cell)
        target = target.to(device)
        z = encode(vae, target).mean.float()
        deviation = DEVIATION + 0.1 * rng.uniform("deviation", len(z))[:, None, None, None].to(device) ** 2
        y = decode(vae, z + deviation * rng.normal("posterior", z)).float()
        error, far = y - target, perceptual(y, target)
        log = _psnrs(error, pools) | {"perceptual": far.item(), "latents": z.detach().std().item()}
        return _miss(error) + 0.1 * far + 1e-3 * (z.pow(2).mean() - 1).pow(2), log

    fit(name, vae, learn, steps=steps - alone, out=out, learning_rate=4e-4, weight_decay=0, device=device)
    return vae.eval()


def sharpen_decoder(
    vae: AutoencoderKL, diet: list[np.ndarray], *, steps: int, out: Path, name: str = "sharpened", device: str = "cpu"
) -> AutoencoderKL:
    """Let the decoder go on alone, on whole pictures, against pixels, features and a critic of patches.

    The critic learns in the same steps; what the decoder is told of it is scaled so that both pull equally hard at the
    last layer (Esser et al., 2012.09841), times `ADVERSARIAL`. Latents are noised more than the posterior has
    them, because those that a denoiser draws are never quite right.
    """
    cell, side = reduction(vae), diet[0].shape[1]
    move(vae, device)
    vae.encoder.requires_grad_(False)
    perceptual = PerceptualLoss().to(device)
    torch.manual_seed(4)
    learners = nn.ModuleDict({"decoder": vae.decoder, "critic": Critic().to(device)})
    critic = cast(Critic, learners["critic"])
    last = vae.decoder.conv_out.weight

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(3, step)
        target, pools = crops(diet, rng, len(diet), side, cell)
        target = target.to(device)
        with torch.no_grad():
            z = encode(vae, target).mean.float()
            real = perceptual.features(target)
        deviation = DEVIATION + 0.1 * rng.uniform("deviation", len(z))[:, None, None, None].to(device) ** 2
        y = decode(vae, z + deviation * rng.normal("posterior", z)).float()
        error, fake = y - target, perceptual.features(y)
        kept = _miss(error) + 0.1 * distance(fake, real)
        doubt = critic.doubt(fake)
        pulls = [torch.autograd.grad(x, last, retain_graph=True)[0].norm() for x in (kept, doubt)]
        weight = ADVERSARIAL * (pulls[0] / (pulls[1] + 1e-4)).clamp(max=100).detach()
        told = critic.loss(real, fake)
        log = _psnrs(error, pools) | {"doubt": doubt.item(), "critic": told.item(), "weight": weight.item()}
        return kept + weight * doubt + told, log

    fit(name, learners, loss, steps=steps, out=out, learning_rate=2e-4, weight_decay=0, device=device)
    vae.encoder.requires_grad_(True)
    return vae.eval()


def _miss(error: Tensor) -> Tensor:
    """What pixels and the steps between neighbours are off."""
    steps = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
    return error.abs().mean() + 2 * error.pow(2).mean() + 0.5 * steps


def _psnrs(error: Tensor, pools: np.ndarray) -> dict[str, float]:
    square = error.detach().pow(2).flatten(1).mean(1)
    return {f"psnr{i}": float((-10 * torch.log10(square[pools == i] / 4)).mean()) for i in np.unique(pools)}
