"""Every noise level equally often (Ho et al., 2006.11239)."""

from __future__ import annotations

from torch import Tensor

from booth.core.objective import TimestepSampler
from booth.core.rng import Rng


class Uniform(TimestepSampler):
    """Every noise level equally often."""

    name = "uniform"
    title = "Uniform"
    source = "Ho et al., 2006.11239"

    def __call__(self, rng: Rng, size: int) -> Tensor:
        return rng.uniform("timestep", size)
