"""Soft-min-SNR: min-SNR without its corner (Crowson et al., 2401.11605)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting


class SoftMinSNR(Weighting):
    """The error in x_0 by SNR gamma / (SNR + gamma), and that of other predictions by what makes it the same."""

    name = "soft_min_snr"
    title = "Soft-min-SNR"
    source = "Crowson et al., 2401.11605"

    gamma: float = Field(5.0, gt=0, description="SNR around which levels stop to count more")

    def __call__(self, levels: NoiseLevels) -> Tensor:
        weight = self.gamma / (levels.snr + self.gamma)
        return weight if levels.prediction == "epsilon" else weight * levels.signal
