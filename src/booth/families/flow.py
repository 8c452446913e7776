"""What the families that were trained with flow matching share: noise levels, their shift, and packed latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from booth.core.errors import UsageError
from booth.core.noising import FlowMatch, Noising
from booth.families.layout import DiffusersFamily
from booth.registry import TIMESTEPS


class FlowFamily(DiffusersFamily):
    """A transformer trained with flow matching, at noise levels shifted as its scheduler says."""

    Scheduler = FlowMatchEulerDiscreteScheduler
    schedulers = {"euler": FlowMatchEulerDiscreteScheduler}
    sampler = "euler"
    patch = 2  # latents a side that the transformer takes together

    @property
    def multiple(self) -> int:
        """Pixels that a side is a multiple of."""
        return self.vae_factor * self.patch

    @property
    def bucket_step(self) -> int:
        """Twice that, so that photos of nearly the same aspect share a bucket: 32 at 16 pixels a patch."""
        return 2 * self.multiple

    def steps_taken(self, steps: int, strength: float) -> int:
        """Rounded up, as its pipelines round the steps that are left out down."""
        return steps - int(steps - steps * strength)

    def make_noising(self) -> Noising:
        """Logit-normal noise levels (Esser et al., 2403.03206), shifted as they are when a picture is drawn."""
        return FlowMatch(TIMESTEPS["logit_normal"](), self.shift)

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return told["timestep"]

    def shift(self, latents: Tensor) -> float:
        """How far noise levels move towards 1: fixed, or growing with the number of patches."""
        config = self.scheduler.config
        if not config.use_dynamic_shifting:
            return config.shift
        mu = self.mu(self.patches(latents))
        return math.exp(mu) if config.time_shift_type == "exponential" else mu

    def mu(self, patches: int) -> float:
        """The logarithm of the shift, linear in the number of patches, as the pipelines compute it."""
        c = self.scheduler.config
        slope = (c.max_shift - c.base_shift) / (c.max_image_seq_len - c.base_image_seq_len)
        return c.base_shift + slope * (patches - c.base_image_seq_len)

    def patches(self, latents: Tensor) -> int:
        """How many patches the transformer sees of latents (B, C, h, w)."""
        return (latents.shape[-2] // self.patch) * (latents.shape[-1] // self.patch)


def no_negative(title: str, guidance: float, negative: str) -> dict[str, object]:
    """How a pipeline is called that takes no negative prompt; UsageError if there is one."""
    if negative:
        raise UsageError(
            f"{title} takes no negative prompt.", "Leave `negative` out.", code="negative.unsupported", field="negative"
        )
    return {"guidance_scale": guidance}


def pack(latents: Tensor) -> Tensor:
    """Latents (B, C, h, w) as a sequence of 2x2 patches (B, h/2 * w/2, 4C)."""
    b, c, h, w = latents.shape
    return latents.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(patches: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack` for latents of this height and width."""
    b, _, c = patches.shape
    return (
        patches.view(b, height // 2, width // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, -1, height, width)
    )
