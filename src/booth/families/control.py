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
MATCHED = ("in_channels", "block_out_channels", "down_block_types", "layers_per_block", "cross_attention_dim")


def control_site(unet: UNet2DConditionModel, halvings: int, placed: dict[str, PlacedControl]) -> ControlSite:
    """The place beside `unet`, whose latents are smaller than the picture by that many halvings of the side."""

    def copy() -> nn.Module:
        channels = HINT_CHANNELS[: halvings + 1]
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)
        return net.to(unet.device).eval()

    def read(folder: Path) -> nn.Module:
        if not any(folder.glob("*.safetensors")):
            raise BadDataError(f"{folder} holds no ControlNet. Train it again, or restore the concept from a copy.")
        load = {"use_safetensors": True, "local_files_only": True, "torch_dtype": unet.dtype}
        net = ControlNetModel.from_pretrained(folder, **load)
        for name in MATCHED:
            here, there = (_plain(model.config[name]) for model in (unet, net))
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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
