"""ControlNets beside a UNet, in diffusers' classes and layout on the disk (Zhang et al., 2302.05543)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from booth.core.errors import BadDataError
from booth.core.sites import ControlSite, PlacedControl

HINT_CHANNELS = (16, 32, 96, 256)  # of the reference code's hint encoder, which halves the side after each but the last
MATCHED = ("block_out_channels", "down_block_types", "layers_per_block", "cross_attention_dim")


def control_site(unet: UNet2DConditionModel, halvings: int, placed: dict[str, PlacedControl]) -> ControlSite:
    """The place beside `unet`, whose latents are smaller than the picture by that many halvings of the side.

    A ControlNet sees the noised latents alone, as in diffusers' pipelines, also beside an inpainting denoiser, which
    is told more.
    """
    latents: int = unet.config["out_channels"]

    def copy() -> nn.Module:
        channels = HINT_CHANNELS[: halvings + 1]
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)
        if net.config["in_channels"] != latents:
            net.conv_in = _first_channels(net.conv_in, latents)
            net.register_to_config(in_channels=latents)
        return net.to(unet.device).eval()

    def read(folder: Path) -> nn.Module:
        if not any(folder.glob("*.safetensors")):
            raise BadDataError(f"{folder} holds no ControlNet. Train it again, or restore the concept from a copy.")
        load = {"use_safetensors": True, "local_files_only": True, "torch_dtype": unet.dtype}
        net = ControlNetModel.from_pretrained(folder, **load)
        wanted = {"in_channels": latents} | {name: unet.config[name] for name in MATCHED}
        for name, value in wanted.items():
            here, there = _plain(value), _plain(net.config[name])
            if here != there:
                raise BadDataError(
                    f"The ControlNet in {folder} was made for another base: its {name} is {there}, here it is {here}. "
                    "Use the base that the concept names."
                )
        return net.to(unet.device).eval()

    def write(net: Any, folder: Path) -> None:
        net.save_pretrained(folder, safe_serialization=True)

    return ControlSite(copy, read, write, placed)


def residuals(
    placed: Iterable[PlacedControl], x_t: Tensor, t: Tensor, tokens: Tensor, told: dict[str, Any] | None, hint: Tensor
) -> tuple[Tensor, ...]:
    """The sum of what all ControlNets say to `hint` (B, 3, H, W): one tensor a skip connection, the middle one last.

    `told` is what they are told beside the prompt's `tokens`, as the UNet is.
    """
    total: tuple[Tensor, ...] = ()
    for control in placed:
        net: Any = control.net
        down, middle = net(
            x_t.to(net.dtype),
            t,
            encoder_hidden_states=tokens.to(net.dtype),
            controlnet_cond=hint.to(net.device, net.dtype),
            conditioning_scale=control.scale,
            added_cond_kwargs=told,
            return_dict=False,
        )
        said = (*down, middle)
        total = tuple(a + b for a, b in zip(total, said, strict=True)) if total else said
    return total


def controlled(kind: Any, parts: Mapping[str, Any], placed: Iterable[PlacedControl]) -> Any:
    """A pipeline of a kind that follows hints, over the parts of one that does not."""
    nets = [control.net for control in placed]
    return kind(**parts, controlnet=nets[0] if len(nets) == 1 else nets)


def _first_channels(layer: nn.Conv2d, count: int) -> nn.Conv2d:
    """The layer as it is for its first `count` input channels."""
    part = nn.Conv2d(count, layer.out_channels, layer.kernel_size, padding=layer.padding)  # type: ignore[arg-type]
    part.load_state_dict({"weight": layer.weight[:, :count], "bias": layer.bias})
    return part.to(layer.weight)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
