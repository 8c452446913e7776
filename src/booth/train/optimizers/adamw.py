"""AdamW (Loshchilov & Hutter, 1711.05101), fused."""

from __future__ import annotations

import torch
from pydantic import Field

from booth.core.optimizer import OptimizerFactory


class AdamW(OptimizerFactory):
    """Two moments of each gradient, and decay apart from them."""

    name = "adamw"
    title = "AdamW"
    state_bytes = 8
    by_element = True

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the squared gradient's mean")
    eps: float = Field(1e-8, gt=0, description="what is added to the root of the latter")

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)
