"""Huber's loss (1964), which a few photos that fit badly pull less."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from booth.core.objective import Loss


class Huber(Loss):
    """d^2 up to delta, and beyond in proportion to the difference, 2 delta abs(d) - delta^2: twice torch's."""

    name = "huber"
    title = "Huber"
    source = "Huber, Robust Estimation of a Location Parameter, 1964"

    delta: float = Field(0.1, gt=0, description="difference from which the loss grows in proportion")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return 2 * F.huber_loss(prediction.float(), target.float(), reduction="none", delta=self.delta)
