"""Latents of the autoencoders that were made for videos, of which a picture is the only frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from booth.core.family import Posterior


def latent_side_of(vae: Mapping[str, Any]) -> int:
    """How many pixels a side a latent stands for, by the configuration of such an autoencoder."""
    return 2 ** len(vae["temperal_downsample"])


def standardised(vae: Any, pixels: Tensor) -> Posterior:
    """Encode `pixels` (B, 3, H, W), with each channel's mean 0 and deviation 1 over the base's data."""
    with torch.no_grad():
        dist = vae.encode(pixels.to(vae.dtype).unsqueeze(2)).latent_dist
    usual, spread = (
        torch.tensor(values, device=pixels.device).view(1, -1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    mean, std = dist.mean.float().squeeze(2), dist.std.float().squeeze(2)
    return Posterior((mean - usual) / spread, std / spread)
