"""Dropout for layers that a method inserts into a model which is always in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GradientDropout(nn.Module):
    """Dropout only while gradients are recorded, so that a preview drawn between two steps is not thinned out."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=torch.is_grad_enabled())
