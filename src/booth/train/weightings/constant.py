"""Every noise level counts the same (Ho et al., 2006.11239, L_simple)."""

from __future__ import annotations

import torch
from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting


class Constant(Weighting):
    """Every noise level counts the same."""

    name = "constant"
    title = "Constant"
    source = "Ho et al., 2006.11239"

    def __call__(self, levels: NoiseLevels) -> Tensor:
        return torch.ones_like(levels.signal)
