"""What Stable Diffusion and Stable Diffusion XL share: a U-Net on the integer timesteps of a DDPM schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
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
from booth.core.sites import AttentionSite, Sites
from booth.families.control import ControlledFamily

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
    "dpm++-sde": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
}

HINT_CHANNELS = (16, 32, 96, 256)  # of the reference code's hint encoder, which halves the side after each but the last


class UNetFamily(ControlledFamily):
    """A family whose denoiser is a UNet2DConditionModel.

    Its ControlNets copy the encoder half and the middle, and encode hints by convolutions of their own. They see the
    noised latents alone, as in diffusers' pipelines, also beside an inpainting denoiser, which is told more.
    """

    Control = ControlNetModel
    matched = ("block_out_channels", "layers_per_block", "cross_attention_dim")
    Scheduler = DDPMScheduler
    schedulers = SCHEDULERS
    channels_last = ("unet", "vae")
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
        self._grey: dict[tuple[int, int], Tensor] = {}  # latents of plain grey by height and width
        super().__init__(base, device, dtype, quantised)
        self.inpaints = self.network.config.in_channels == 2 * self.vae.config.latent_channels + 1

    @property
    def most_steps(self) -> int:
        """As many as the base knows levels of noise."""
        return self.scheduler.config.num_train_timesteps

    @property
    def bucket_step(self) -> int:
        """Pixels by which every level of the U-Net has whole latents: 64 in Stable Diffusion."""
        return self.vae_factor * 2 ** (len(self.network.config.block_out_channels) - 1)

    def control_copy(self, middle_attention: bool) -> nn.Module:
        unet, latents = self.network, self.network.config.out_channels
        halvings = self.vae_factor.bit_length() - 1  # of the picture's side, down to the latents'
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hint_channels(halvings))
        if net.config["in_channels"] != latents:
            net.conv_in = _first_channels(net.conv_in, latents)
            net.register_to_config(in_channels=latents)
        return net if middle_attention else _without_middle_attention(net)

    def control_config(self) -> dict[str, Any]:
        return super().control_config() | {"in_channels": self.network.config.out_channels}

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return torch.as_tensor(told["timestep"]) / self.scheduler.config.num_train_timesteps

    def make_noising(self) -> Noising:
        kind = self.scheduler.config.prediction_type
        classes: dict[str, type[Epsilon | Velocity]] = {"epsilon": Epsilon, "v_prediction": Velocity}
        if kind not in classes:
            raise BadDataError(
                f"The base's scheduler says prediction_type={kind!r}; epsilon and v_prediction work.",
                code="base.prediction_type",
                field="base",
            )
        return classes[kind](self.scheduler.alphas_cumprod)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, added = self.dtype, self.added(x_t, condition)
        told = {"timestep": t, "encoder_hidden_states": condition.tokens.to(dtype), "added_cond_kwargs": added}
        skips, middle = self.control_residuals(condition.control_image, sample=x_t, **told) or (None, [None])
        network_input = torch.cat([x_t, self._nothing_known(x_t)], dim=1) if self.inpaints else x_t
        return self.network(
            network_input.to(dtype),
            **told,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle[0],
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

    def _sites(self) -> Sites:
        return replace(
            super()._sites(),
            attention=attention_sites(self.network),
            cross_attention=tuple(n for n, _ in self.network.named_modules() if n.endswith("attn2")),
        )


def hint_channels(halvings: int) -> tuple[int, ...]:
    """Widths of a hint encoder that halves the side so often, one more than halvings; up to three the reference's."""
    if halvings < len(HINT_CHANNELS):
        return HINT_CHANNELS[: halvings + 1]
    return tuple(min(HINT_CHANNELS[0] * 2**level, HINT_CHANNELS[-1]) for level in range(halvings + 1))


def attention_sites(unet: Any) -> tuple[AttentionSite, ...]:
    """Every attention of a U-Net, with the width of its context."""
    found = ((name, m) for name, m in unet.named_modules() if name.endswith(("attn1", "attn2")))
    return tuple(AttentionSite(name, f"{name}.to_k", f"{name}.to_v", m.to_k.in_features) for name, m in found)


def _first_channels(layer: nn.Conv2d, count: int) -> nn.Conv2d:
    """The layer as it is for its first `count` input channels."""
    part = nn.Conv2d(count, layer.out_channels, layer.kernel_size, padding=layer.padding)  # type: ignore[arg-type]
    part.load_state_dict({"weight": layer.weight[:, :count], "bias": layer.bias})
    return part.to(layer.weight)


def _without_middle_attention(net: Any) -> Any:
    """The same ControlNet with nothing in the middle but its first residual layer."""
    small: Any = ControlNetModel.from_config({**net.config, "mid_block_type": "UNetMidBlock2D"})
    small.load_state_dict({name: net.state_dict()[name] for name in small.state_dict()})
    return small
