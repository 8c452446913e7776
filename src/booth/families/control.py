"""ControlNets beside a denoiser, in diffusers' classes and layout on the disk (Zhang et al., 2302.05543)."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.sites import ControlSite, PlacedControl, Sites
from booth.families.components import forget_path
from booth.families.layout import DiffusersFamily

FEATURES = ("sample", "hidden_states", "encoder_hidden_states", "pooled_projections")  # not ids, and not the timestep


class ControlledFamily(DiffusersFamily):
    """A family beside whose denoiser ControlNets can stand.

    It names their class and the pipeline that follows hints, says how a copy is made, and asks `said` for what the
    ControlNets in place add when it predicts.
    """

    Control: ClassVar[Any]  # diffusers' class of a ControlNet
    Controlled: ClassVar[Any]  # the pipeline that follows control images
    matched: ClassVar[tuple[str, ...]]  # what the configurations of a ControlNet and of its denoiser agree in

    def __init__(
        self, base: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, quantised: str | None = None
    ) -> None:
        self._controls: dict[str, PlacedControl] = {}
        super().__init__(base, device, dtype, quantised)

    @abstractmethod
    def control_copy(self, middle_attention: bool) -> nn.Module:
        """A new ControlNet that has the denoiser's weights wherever both have the same layer.

        Only U-Nets have a middle block whose attention can be left out.
        """

    def control_config(self) -> dict[str, object]:
        """What the configuration of every ControlNet says that fits this denoiser."""
        return {name: self.network.config[name] for name in self.matched}

    def encode_control(self, control_image: Tensor) -> Tensor:
        """What a ControlNet is given of a control image (B, 3, H, W) in [0, 1]."""
        return control_image

    def for_pipeline(self, control_image: Tensor) -> Tensor:
        """The control image as the pipeline takes it, which then makes of it what `encode_control` does."""
        return control_image

    def control_residuals(self, control_image: Tensor | None, **told: Any) -> list[list[Tensor]] | None:
        """What all ControlNets in place say to `control_image` (B, 3, H, W), summed; None if there is none, of either.

        `told` is what they are told beside it, as the denoiser is. There is a list for each kind of place that the
        denoiser adds something in, with a tensor a place.
        """
        if control_image is None or not self._controls:
            return None
        total: list[list[Tensor]] = []
        encoded = self.encode_control(control_image)
        for control in self._controls.values():
            net: Any = control.net
            here = {k: v.to(net.dtype) if k in FEATURES else v for k, v in told.items()}
            answers = net(
                controlnet_cond=encoded.to(net.device, net.dtype),
                conditioning_scale=control.scale,
                return_dict=False,
                **here,
            )
            one: list[list[Tensor]] = [[a] if isinstance(a, Tensor) else list(a or ()) for a in answers]
            total = [[x + y for x, y in zip(*kind, strict=True)] for kind in zip(total, one)] if total else one
        return [[tensor.to(self.dtype) for tensor in kind] for kind in total]

    def components(self) -> Mapping[str, nn.Module]:
        return {**super().components(), **{name: control.net for name, control in self._controls.items()}}

    def pipeline(self, scheduler: str | None = None) -> Any:
        pipe = super().pipeline(scheduler)
        if self._controls:
            nets = [control.net for control in self._controls.values()]
            parts = {**pipe.components, **self._options, "controlnet": nets[0] if len(nets) == 1 else nets}
            pipe = self.Controlled(**parts)
            pipe.set_progress_bar_config(disable=True)
        return pipe

    def recompute_activations(self, on: bool) -> None:
        super().recompute_activations(on)
        for control in self._controls.values():
            net: Any = control.net
            (net.enable_gradient_checkpointing if on else net.disable_gradient_checkpointing)()

    def _sites(self) -> Sites:
        def new(middle_attention: bool) -> nn.Module:
            return self.control_copy(middle_attention).to(self.device).eval()

        def write(net: Any, folder: Path) -> None:
            net.save_pretrained(folder, safe_serialization=True)
            forget_path(folder / "config.json")

        site = ControlSite(new, self._read_control, write, self._controls, self.for_pipeline)
        return replace(super()._sites(), control=site)

    def _read_control(self, folder: Path) -> nn.Module:
        if not any(folder.glob("*.safetensors")):
            raise BadDataError(
                f"{folder} holds no ControlNet.",
                "Train it again, or restore the concept from a copy.",
                code="controlnet.none_here",
            )
        load = {"use_safetensors": True, "local_files_only": True, "torch_dtype": self.dtype}
        net = self.Control.from_pretrained(folder, **load)
        for name, value in self.control_config().items():
            here, there = _plain(value), _plain(net.config[name])
            if here != there:
                raise BadDataError(
                    f"The ControlNet in {folder} was made for another base: its {name} is {there}, here it is {here}.",
                    "Use the base that the concept names.",
                    code="base.other_architecture",
                    field="base",
                )
        for p in net.parameters():
            p.data = p.data.clone()  # aligned memory, unlike the file's: a sum's last bit is then as it was in training
        return net.to(self.device).eval()


class LatentlyControlledFamily(ControlledFamily):
    """One whose ControlNets see a hint as the autoencoder encodes it, and are told what the denoiser is told."""

    def encode_control(self, control_image: Tensor) -> Tensor:
        """A latent drawn with the global generator, as diffusers' scripts do; the loop sets that anew at each step."""
        posterior = self.encode(self.for_pipeline(control_image))
        return posterior.sample(torch.randn(posterior.mean.shape).to(posterior.mean))

    def for_pipeline(self, control_image: Tensor) -> Tensor:
        return 2 * control_image - 1

    def control_copy(self, middle_attention: bool) -> nn.Module:
        if not middle_attention:
            raise UsageError(
                f"{self.title} has no middle block to do without.",
                "Leave middle_attention as it is.",
                code="setting.unsupported",
                field="settings.middle_attention",
            )
        return self.control_blocks()

    @abstractmethod
    def control_blocks(self) -> nn.Module:
        """A new ControlNet of some of the denoiser's blocks."""

    def to_copy_from(self, **config: object) -> nn.Module:
        """The denoiser for `from_transformer` to copy from, which writes into the configuration that it is given."""
        denoiser: Any = object.__new__(type(self.network))  # `copy` would make a sharded one anew, whole
        denoiser.__dict__.update(self.network.__dict__)
        known = inspect.signature(self.Control).parameters
        denoiser._internal_dict = {k: v for k, v in self.network.config.items() if k in known} | config
        return denoiser


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
