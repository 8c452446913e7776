"""sigma^-2, which diffusers' scripts for flow matching call sigma_sqrt."""

from __future__ import annotations

from torch import Tensor

from booth.core.objective import NoiseLevels, Weighting

LEAST = 1e-3  # the lowest sigma of the published schedules, which have 1000 levels


class SigmaSqrt(Weighting):
    """The clearer a picture is, the more its error counts."""

    name = "sigma_sqrt"
    title = "sigma_sqrt"
    source = "diffusers, compute_loss_weighting_for_sd3"
    predictions = ("flow",)

    def __call__(self, levels: NoiseLevels) -> Tensor:
        return 1 / levels.noise.clamp(min=LEAST**2)
