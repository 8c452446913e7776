"""The embedded base's autoencoder: 64x64 pixels to 8x8 latents with 16 channels.

Eight-fold reduction as in Stable Diffusion, so that the ControlNet hint encoder and the pipelines fit unchanged, and
because 64 tokens make the denoiser cheap. Sixteen channels because four lose too much of a 64x64 photograph: the best
linear code of 8x8 patches with 16 numbers reaches 24.9 dB on photographs, that of 4x4 patches with four 22.7 dB.

The encoder is set, not trained: its weights compute that best linear code (the principal components of 8x8 patches).
The decoder learns to undo it, and reaches within a minute what both together reach in half an hour on two cores; the
latents keep the spectrum of pictures, coarse channels strong and fine ones weak, which suits a denoiser.
See docs/decisions/0002-linear-encoder.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.rng import Rng
from booth.world.fit import fit
from booth.world.pixels import to_unit

CHANNELS = 16
PATCH = 8  # pixels a latent
GROUPS = 4
DEVIATION = 0.05  # of the posterior, against latents of deviation 1: the decoder learns to bear a denoiser's errors


def new_autoencoder() -> AutoencoderKL:
    """A freshly initialised autoencoder."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 64, 96, 160),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=GROUPS,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=None,
    )


def principal_components(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (16, 192) and offset (16,) of the linear code of 8x8 patches of pictures (N, 3, H, W) in [-1, 1].

    Each component is divided by the square root of its deviation, half-way to white, and all by one number, so that the
    latents have deviation 1 on the whole while coarse ones stay stronger than fine ones.
    """
    patches = F.unfold(pictures, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH**2)
    mean = patches.mean(0)
    variances, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    deviations, vectors = variances[-CHANNELS:].flip(0).sqrt(), vectors[:, -CHANNELS:].flip(1)
    rows = (vectors / deviations.sqrt() / deviations.mean().sqrt()).T
    return rows, -rows @ mean


@torch.no_grad()
def set_linear_encoder(vae: AutoencoderKL, rows: Tensor, offset: Tensor) -> None:
    """Make the encoder compute `rows` (16, 192) times each 8x8 patch plus `offset`, with a constant small deviation.

    Residual branches are silenced; the first two stride-2 convolutions move pixels into channels, the third applies the
    code. The last normalisation and SiLU are made all but linear: two constant channels of opposite sign in each group
    fix its statistics, and a large bias puts the signal on the straight part of SiLU.
    """
    encoder: Any = vae.encoder
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.zero_()
            module.bias.zero_()  # type: ignore[union-attr]
    identity = torch.eye(3)
    encoder.conv_in.weight[:3, :, 1, 1] = identity
    for i in (1, 2):  # channels carry over where a block widens
        shortcut = encoder.down_blocks[i].resnets[0].conv_shortcut
        width = shortcut.weight.shape[1]
        shortcut.weight[:width, :, 0, 0] = torch.eye(width)
    depth = 3
    for i in (0, 1):  # space to depth: channel (row, column, c) of each 2x2 block
        conv = encoder.down_blocks[i].downsamplers[0].conv
        for a in range(2):
            for b in range(2):
                for c in range(depth):
                    conv.weight[(2 * a + b) * depth + c, c, a, b] = 1.0
        depth *= 4
    # The third one sees 2x2 blocks of 48 channels, which together are the 192 pixels of a patch.
    code = rows.view(CHANNELS, 3, PATCH, PATCH)
    conv = encoder.down_blocks[2].downsamplers[0].conv
    for y in range(PATCH):
        for x in range(PATCH):
            # Bits of the pixel's place: the lowest went into channels last of all but first in order.
            outer, inner, lowest = (y >> 2, x >> 2), (y >> 1 & 1, x >> 1 & 1), (y & 1, x & 1)
            for c in range(3):
                channel = (2 * inner[0] + inner[1]) * 12 + (2 * lowest[0] + lowest[1]) * 3 + c
                conv.weight[:CHANNELS, channel, outer[0], outer[1]] = code[:, c, y, x]
    conv.bias[:CHANNELS] = offset
    _pass_through_norm(encoder)


def _pass_through_norm(encoder: Any) -> None:
    """Carry the 16 code channels through the last normalisation, SiLU and convolution, almost unchanged."""
    small, gain, bias = 0.05, 2.0, 8.0
    shortcut = encoder.down_blocks[3].resnets[0].conv_shortcut
    width = shortcut.weight.shape[0] // GROUPS
    places = [(k % GROUPS) * width + 2 + k // GROUPS for k in range(CHANNELS)]
    for group in range(GROUPS):
        shortcut.bias[group * width], shortcut.bias[group * width + 1] = 1.0, -1.0
    deviation = (2 / width) ** 0.5  # of a group whose two constants are +1 and -1
    encoder.conv_norm_out.weight.zero_()
    encoder.conv_norm_out.bias.zero_()
    for k, place in enumerate(places):
        shortcut.weight[place, k, 0, 0] = small
        encoder.conv_norm_out.weight[place] = gain
        encoder.conv_norm_out.bias[place] = bias
        encoder.conv_out.weight[k, place, 1, 1] = deviation / (small * gain)
        encoder.conv_out.bias[k] = -float(F.silu(torch.tensor(bias))) * deviation / (small * gain)
    encoder.conv_out.bias[CHANNELS:] = 2 * float(np.log(DEVIATION))


def train_autoencoder(
    pictures: np.ndarray, textures: np.ndarray, *, minutes: float, out: Path, batch: int = 16, device: str = "cpu"
) -> AutoencoderKL:
    """Set the encoder, and train the decoder on half pictures of the world, half textures (uint8, N x 64 x 64 x 3)."""
    vae = new_autoencoder()
    diet = np.concatenate([pictures[:4000], textures[:8000]])
    set_linear_encoder(vae, *principal_components(to_unit(diet)))
    vae.to(device).encoder.requires_grad_(False)
    side = 32  # crops: the code is local, and small steps are worth more than large ones early on

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        half = batch // 2
        x = [pool[rng.integers(str(i), len(pool), half).numpy()] for i, pool in enumerate((pictures, textures))]
        top, left = (rng.integers("crop", (64 - side) // PATCH + 1, 2) * PATCH).tolist()
        target = to_unit(np.concatenate(x)[:, top : top + side, left : left + side]).to(device)
        flip = rng.uniform("flip", batch) < 0.5
        target[flip] = target[flip].flip(-1)
        with torch.no_grad(), torch.autocast(device, enabled=False):
            posterior = vae.encode(target).latent_dist
            z = posterior.mean + posterior.std * rng.normal("posterior", posterior.mean)
        error = vae.decode(z).sample.float() - target
        psnr = -10 * torch.log10(error.detach().pow(2).flatten(1).mean(1) / 4)
        log = {"psnr_world": psnr[:half].mean().item(), "psnr_textures": psnr[half:].mean().item()}
        return error.pow(2).mean() + 0.1 * error.abs().mean(), log

    fit(
        "autoencoder", vae.decoder, loss, minutes=minutes, out=out, learning_rate=2e-3, weight_decay=1e-4, device=device
    )
    return vae.eval()


def psnr(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of encode -> decode (posterior mean) over uint8 pictures."""
    values: list[Tensor] = []
    with torch.no_grad():
        for i in range(0, len(images), 64):
            x = to_unit(images[i : i + 64]).to(vae.device)
            y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
            values.append(-10 * torch.log10((y - x).pow(2).flatten(1).mean(1) / 4))
    return float(torch.cat(values).mean())
