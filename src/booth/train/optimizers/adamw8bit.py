"""AdamW with its moments in 8 bits (Dettmers et al., 2110.02861), through bitsandbytes."""

# bitsandbytes is not annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import torch
from pydantic import Field

from booth.core.optimizer import OptimizerFactory


class AdamW8bit(OptimizerFactory):
    """AdamW that takes a quarter of the memory for its moments; on a GPU."""

    name = "adamw8bit"
    title = "AdamW in 8 bits"
    state_bytes = 2
    package = ("bitsandbytes", 'pip install "booth[gpu]"')

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the squared gradient's mean")
    eps: float = Field(1e-8, gt=0, description="what is added to the root of the latter")

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        try:
            from bitsandbytes.optim import AdamW8bit as Made  # type: ignore[import-not-found]
        except ImportError as error:
            raise self.missing() from error
        return Made(groups, betas=(self.beta1, self.beta2), eps=self.eps)
