"""Mode sampling with heavy tails (Esser et al., 2403.03206, eq. 20)."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from booth.core.objective import TimestepSampler
from booth.core.rng import Rng


class Mode(TimestepSampler):
    """1 - u - s (cos^2(pi u / 2) - 1 + u) for uniform u: more of the middle, and something of both ends."""

    name = "mode"
    title = "Mode"
    source = "Esser et al., 2403.03206, eq. 20"

    scale: float = Field(1.29, ge=-1, le=2 / (math.pi - 2), description="s; 0 = uniform, below 0 more of the ends")

    def __call__(self, rng: Rng, size: int) -> Tensor:
        u = rng.uniform("timestep", size)
        drawn = 1 - u - self.scale * (torch.cos(math.pi * u / 2) ** 2 - 1 + u)
        return drawn.clamp(0, 1 - 1e-6)
