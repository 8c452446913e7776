"""Latents of FLUX.2's autoencoder, which other families took over: 2x2 patches, standardised."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import Flux2KleinPipeline
from torch import Tensor

from booth.core.family import Posterior


def standardised(vae: Any, pixels: Tensor, eps: float | None = None) -> Posterior:
    """Encode `pixels` (B, 3, H, W) as (B, 4C, h/2, w/2) with mean 0 and deviation 1 over the base's data.

    `eps` is what is added to the variance, where it is not what the autoencoder's configuration says.
    """
    with torch.no_grad():
        dist = vae.encode(pixels.to(vae.dtype)).latent_dist
    patchify, norm = Flux2KleinPipeline._patchify_latents, vae.bn
    mean, std = patchify(dist.mean.float()), patchify(dist.std.float())
    usual = norm.running_mean.view(1, -1, 1, 1).float()
    spread = torch.sqrt(norm.running_var.view(1, -1, 1, 1).float() + (eps or vae.config.batch_norm_eps))
    return Posterior((mean - usual) / spread, std / spread)
