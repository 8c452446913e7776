"""The squared error (Ho et al., 2006.11239)."""

from __future__ import annotations

from torch import Tensor

from booth.core.objective import Loss


class MSE(Loss):
    """d^2 of each difference d."""

    name = "mse"
    title = "Squared error"
    source = "Ho et al., 2006.11239"

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction.float() - target.float()).pow(2)
