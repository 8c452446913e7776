"""CosMap (Esser et al., 2403.03206, eq. 21): flow matching weighted as the cosine schedule would."""

from __future__ import annotations

import math

from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting


class Cosmap(Weighting):
    """2 / (pi (1 - 2 sigma + 2 sigma^2)): the middle counts twice as much as the ends."""

    name = "cosmap"
    title = "CosMap"
    source = "Esser et al., 2403.03206, eq. 21"
    predictions = ("flow",)

    def __call__(self, levels: NoiseLevels) -> Tensor:
        return 2 / (math.pi * (levels.signal + levels.noise))
