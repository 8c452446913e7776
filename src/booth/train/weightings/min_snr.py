"""Min-SNR (Hang et al., 2303.09556): x_0's error by min(SNR, gamma)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting


class MinSNR(Weighting):
    """min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) / (SNR + 1) for velocity."""

    name = "min_snr"
    title = "min-SNR"
    source = "Hang et al., 2303.09556"
    predictions = ("epsilon", "velocity")

    gamma: float = Field(5.0, gt=0, description="SNR above which no level counts more; setting min_snr_gamma sets it")

    def __call__(self, levels: NoiseLevels) -> Tensor:
        # SNR is infinite at a noise-free level and 0 at a signal-free one; both limits of the weight are finite.
        snr = levels.snr
        clipped = snr.clamp(max=self.gamma)
        if levels.prediction == "velocity":
            return clipped / (snr + 1)
        return torch.where(snr > 0, clipped / snr.clamp(min=1e-12), torch.ones_like(snr))
