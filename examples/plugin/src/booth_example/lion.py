"""Lion: the sign of an interpolated momentum (Chen et al., 2302.06675)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from booth.core.optimizer import OptimizerFactory


class LionOptimizer(torch.optim.Optimizer):
    """p <- (1 - lr wd) p - lr sign(beta1 m + (1 - beta1) g), and then m <- beta2 m + (1 - beta2) g."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                momentum: Tensor = self.state[p].setdefault("momentum", torch.zeros_like(p))
                update = torch.lerp(p.grad, momentum, group["beta1"]).sign_()
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                momentum.lerp_(p.grad, 1 - group["beta2"])


class Lion(OptimizerFactory):
    """Every value moves by the learning rate itself, which is set 3 to 10 times lower than AdamW's."""

    name = "lion"
    title = "Lion"
    state_bytes = 4  # of each trained value: one moment in float32

    beta1: float = Field(0.9, ge=0, lt=1, description="share of the momentum in the sign")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of the momentum")

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return LionOptimizer(groups, {"beta1": self.beta1, "beta2": self.beta2})
