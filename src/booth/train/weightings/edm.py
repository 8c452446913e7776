"""EDM's (Karras et al., 2206.00364, table 1): x_0's error by (sigma^2 + sigma_data^2) / (sigma sigma_data)^2."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting

LEAST, MOST = 1 / 80**2, 1 / 0.002**2  # SNR at the ends of EDM's own range of sigma, beyond which nothing changes


class EDM(Weighting):
    """Its sigma is the noise beside an unscaled picture: 1 / sqrt(SNR). With sigma_data = 1 it is 1 for velocity."""

    name = "edm"
    title = "EDM's"
    source = "Karras et al., 2206.00364, table 1"

    sigma_data: float = Field(0.5, gt=0, description="standard deviation of the data; latents are scaled to about 1")

    def __call__(self, levels: NoiseLevels) -> Tensor:
        snr = levels.snr.clamp(LEAST, MOST)
        clean = snr + 1 / self.sigma_data**2
        if levels.prediction == "epsilon":
            return clean / snr
        noise = 1 / (snr + 1) if levels.prediction == "velocity" else 1 / (snr.sqrt() + 1) ** 2
        return clean * noise
