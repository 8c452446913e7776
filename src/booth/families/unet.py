"""What Stable Diffusion and Stable Diffusion XL share: a U-Net on the integer timesteps of a DDPM schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
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
from torch import Tensor, nn

from booth.core.errors import BadDataError
from booth.core.family import Condition
from booth.core.noising import Epsilon, Noising, Velocity
from booth.core.sites import AttentionSite, PlacedControl, Sites
from booth.families.control import control_site, controlled, residuals
from booth.families.layout import DiffusersFamily

SITES = (
    "token_tables",
    "linears",
    "convolutions",
    "attention",
    "cross_attention",
    "denoiser",
    "text_encoders",
    "control",
)

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
    """A family whose denoiser is a UNet2DConditionModel, with ControlNets beside it if there are any."""

    Controlled: ClassVar[Any]  # the pipeline that follows hints
    Scheduler = DDPMScheduler
    schedulers = SCHEDULERS
    denoiser = ("unet", UNet2DConditionModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("ff.net.0.proj", "ff.net.2"),
        "convolution": ("conv1", "conv2", "downsamplers.0.conv", "upsamplers.0.conv"),  # the 3x3 ones
        "projection": ("proj_in", "proj_out"),  # kohya's scripts adapt them too
        "residual": ("time_emb_proj", "conv_shortcut"),  # and LyCORIS these two groups
        "ends": ("conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"),
    }

    def __init__(
        self, base: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, quantised: str | None = None
    ) -> None:
        self._controls: dict[str, PlacedControl] = {}
        self._grey: dict[tuple[int, int], Tensor] = {}  # latents of plain grey by height and width
        super().__init__(base, device, dtype, quantised)
        self.inpaints = self.network.config.in_channels == 2 * self.vae.config.latent_channels + 1

    @property
    def bucket_step(self) -> int:
        """Pixels by which every level of the U-Net has whole latents: 64 in Stable Diffusion."""
        return self.vae_factor * 2 ** (len(self.network.config.block_out_channels) - 1)

    def components(self) -> Mapping[str, nn.Module]:
        return {**super().components(), **{name: control.net for name, control in self._controls.items()}}

    def pipeline(self, scheduler: str | None = None) -> Any:
        pipe = super().pipeline(scheduler)
        if self._controls:
            pipe = controlled(self.Controlled, pipe.components | self._options, self._controls.values())
            pipe.set_progress_bar_config(disable=True)
        return pipe

    def make_noising(self, min_snr_gamma: float | None = None) -> Noising:
        kind = self.scheduler.config.prediction_type
        classes: dict[str, type[Epsilon | Velocity]] = {"epsilon": Epsilon, "v_prediction": Velocity}
        if kind not in classes:
            raise BadDataError(f"The base's scheduler says prediction_type={kind!r}; epsilon and v_prediction work.")
        return classes[kind](self.scheduler.alphas_cumprod, min_snr_gamma)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, told, said = self.network.dtype, self.added(x_t, condition), ()
        if condition.hint is not None:
            said = residuals(self._controls.values(), x_t, t, condition.tokens, told, condition.hint)
        seen = torch.cat([x_t, self._nothing_known(x_t)], dim=1) if self.inpaints else x_t
        return self.network(
            seen.to(dtype),
            t,
            encoder_hidden_states=condition.tokens.to(dtype),
            added_cond_kwargs=told,
            down_block_additional_residuals=[r.to(dtype) for r in said[:-1]] if said else None,
            mid_block_additional_residual=said[-1].to(dtype) if said else None,
        ).sample

    def _nothing_known(self, x_t: Tensor) -> Tensor:
        """What an inpainting denoiser is told where all is to be painted: a full mask and the latents of plain grey."""
        h, w = x_t.shape[2:]
        if (h, w) not in self._grey:
            self._grey[h, w] = self.encode(torch.zeros(1, 3, h * self.vae_factor, w * self.vae_factor)).mean
        return torch.cat([torch.ones_like(x_t[:, :1]), self._grey[h, w].to(x_t).expand_as(x_t)], dim=1)

    def added(self, x_t: Tensor, condition: Condition) -> dict[str, Any] | None:
        """What the U-Net is told beside the prompt's hidden states."""
        return None

    def recompute_activations(self, on: bool) -> None:
        super().recompute_activations(on)
        for control in self._controls.values():
            net: Any = control.net
            (net.enable_gradient_checkpointing if on else net.disable_gradient_checkpointing)()

    def _sites(self) -> Sites:
        return replace(
            super()._sites(),
            attention=tuple(
                AttentionSite(n, f"{n}.to_k", f"{n}.to_v", m.to_k.in_features)
                for n, m in self.network.named_modules()
                if n.endswith(("attn1", "attn2"))
            ),
            cross_attention=tuple(n for n, _ in self.network.named_modules() if n.endswith("attn2")),
            control=control_site(self.network, self.vae_factor.bit_length() - 1, self._controls),
        )
