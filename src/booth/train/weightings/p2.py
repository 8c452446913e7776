"""P2 (Choi et al., 2204.00227): less weight where there is little noise, and only imperceptible detail to learn."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting


class P2(Weighting):
    """epsilon's error by 1 / (k + SNR)^gamma, and that of other predictions by what makes it the same."""

    name = "p2"
    title = "P2"
    source = "Choi et al., 2204.00227, eq. 8"

    k: float = Field(1.0, gt=0, description="SNR below which levels count about the same")
    gamma: float = Field(1.0, ge=0, description="how much less the levels above count; 0 = constant for epsilon")

    def __call__(self, levels: NoiseLevels) -> Tensor:
        weight = (self.k + levels.snr) ** -self.gamma
        return weight if levels.prediction == "epsilon" else weight * levels.signal
