"""What Stable Diffusion and Stable Diffusion XL share: a U-Net on the integer timesteps of a DDPM schedule."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.family import Condition
from booth.core.noising import Epsilon, Noising, Velocity
from booth.families.layout import DiffusersFamily

SCHEDULERS = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
}


class UNetFamily(DiffusersFamily):
    """A family whose denoiser is a UNet2DConditionModel."""

    Scheduler = DDPMScheduler
    schedulers = SCHEDULERS
    denoiser = ("unet", UNet2DConditionModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("ff.net.0.proj", "ff.net.2"),
    }

    def make_noising(self, min_snr_gamma: float | None = None) -> Noising:
        kind = self.scheduler.config.prediction_type
        classes: dict[str, type[Epsilon | Velocity]] = {"epsilon": Epsilon, "v_prediction": Velocity}
        if kind not in classes:
            raise BadDataError(f"The base's scheduler says prediction_type={kind!r}; epsilon and v_prediction work.")
        return classes[kind](self.scheduler.alphas_cumprod, min_snr_gamma)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        residuals = condition.residuals
        return self.network(
            x_t.to(self.network.dtype),
            t,
            encoder_hidden_states=condition.tokens.to(self.network.dtype),
            added_cond_kwargs=self.added(x_t, condition),
            down_block_additional_residuals=residuals[:-1] if residuals else None,
            mid_block_additional_residual=residuals[-1] if residuals else None,
        ).sample

    def added(self, x_t: Tensor, condition: Condition) -> dict[str, Any] | None:
        """What the U-Net is told beside the prompt's hidden states."""
        return None
