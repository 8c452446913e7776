"""Prodigy, which finds the learning rate itself (Mishchenko & Defazio, 2306.06101), through prodigyopt."""

# prodigyopt is not annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import torch
from pydantic import Field

from booth.core.optimizer import OptimizerFactory


class Prodigy(OptimizerFactory):
    """Estimates from the gradients how far the optimum is; every learning rate that was set is ignored."""

    name = "prodigy"
    title = "Prodigy"
    state_bytes = 16
    finds_rate = True
    package = ("prodigyopt", 'pip install "booth[prodigy]"')

    d_coef: float = Field(1.0, gt=0, description="what the rate that it finds is multiplied by")
    safeguard_warmup: bool = Field(True, description="leave steps of the warm-up out of the estimate")
    use_bias_correction: bool = Field(True, description="Adam's correction of the first steps' moments")

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        try:
            from prodigyopt import Prodigy as Made  # type: ignore[import-untyped]
        except ImportError as error:
            raise self.missing() from error
        # lr is a factor of the estimate, and stays 1.
        return Made([group | {"lr": 1.0} for group in groups], **self.model_dump())
