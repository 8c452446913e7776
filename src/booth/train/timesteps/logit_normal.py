"""The middle most often (Esser et al., 2403.03206)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from booth.core.objective import TimestepSampler
from booth.core.rng import Rng


class LogitNormal(TimestepSampler):
    """sigmoid(N(mean, std)): the middle most often."""

    name = "logit_normal"
    title = "Logit-normal"
    source = "Esser et al., 2403.03206, section 3.1"

    mean: float = Field(0.0, description="above 0 more noise is seen, below 0 less")
    std: float = Field(1.0, gt=0, description="how far from the middle")

    def __call__(self, rng: Rng, size: int) -> Tensor:
        z = torch.randn(size, generator=rng.generator("timestep"))
        return torch.sigmoid(self.mean + self.std * z).clamp(max=1 - 1e-6)
