"""The embedded base's autoencoder: 64x64 pixels to 8x8 latents with 16 channels.

Eight-fold reduction as in Stable Diffusion, so that the ControlNet hint encoder and the pipelines fit unchanged, and
because 64 tokens make the denoiser cheap. Sixteen channels because four lose too much of a 64x64 photograph: the best
linear code of 8x8 patches with 16 numbers reaches 24.9 dB on photographs, that of 4x4 patches with four 22.7 dB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from booth.core.rng import Rng
from booth.world.fit import fit
from booth.world.pixels import to_unit

CHANNELS = 16
KL_WEIGHT = 3e-5  # mean squared error per pixel against mean KL per latent: keeps latents smooth, costs < 0.1 dB


def new_autoencoder() -> AutoencoderKL:
    """A freshly initialised autoencoder."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 48, 96, 160),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=None,
    )


def train_autoencoder(
    pictures: np.ndarray, textures: np.ndarray, *, minutes: float, out: Path, batch: int = 16, device: str = "cpu"
) -> AutoencoderKL:
    """Train on half pictures of the world, half textures (uint8, N x 64 x 64 x 3), and set the latents' scale."""
    vae = new_autoencoder().to(device)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        half = batch // 2
        x = np.concatenate(
            [
                pool[rng.integers(name, len(pool), half).numpy()]
                for name, pool in (("world", pictures), ("textures", textures))
            ]
        )
        target = to_unit(x).to(device)
        flip = rng.uniform("flip", batch) < 0.5
        target[flip] = target[flip].flip(-1)
        posterior = vae.encode(target).latent_dist
        z = posterior.mean + posterior.std * rng.normal("posterior", posterior.mean)
        error = vae.decode(z).sample.float() - target
        mse, mae = error.pow(2).mean(), error.abs().mean()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        psnr = -10 * torch.log10(error.detach().pow(2).flatten(1).mean(1) / 4)
        log = {"psnr_world": psnr[:half].mean().item(), "psnr_textures": psnr[half:].mean().item(), "kl": kl.item()}
        return mse + 0.1 * mae + KL_WEIGHT * kl, log

    fit("autoencoder", vae, loss, minutes=minutes, out=out, learning_rate=1e-3, weight_decay=1e-4, device=device)
    with torch.no_grad():
        latents = torch.cat(
            [vae.encode(to_unit(pictures[i : i + 64]).to(device)).latent_dist.mean for i in range(0, 2048, 64)]
        )
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    return vae


def psnr(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of encode -> decode (posterior mean) over uint8 pictures."""
    values: list[Tensor] = []
    with torch.no_grad():
        for i in range(0, len(images), 64):
            x = to_unit(images[i : i + 64]).to(vae.device)
            y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
            values.append(-10 * torch.log10((y - x).pow(2).flatten(1).mean(1) / 4))
    return float(torch.cat(values).mean())
