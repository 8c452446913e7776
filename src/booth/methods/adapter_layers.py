"""Adapters whose layers are not peft's: one that stands around a frozen layer, and how a method puts such layers in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from booth.core.rng import derived_seed
from booth.core.sites import LinearSite
from booth.methods.adapters import Adapter


class AdapterLayer(nn.Module, BaseTunerLayer):
    """Stands around one frozen layer, which may carry adapters of other kinds, with the tensors of one adapter."""

    adapter_layer_names: tuple[str, ...]  # of the trained tensors, each a ParameterDict by the adapter's name

    def __init__(self, base: nn.Module, adapter: str, **tensors: Tensor) -> None:
        super().__init__()
        self.base_layer = base
        self.adapter = adapter
        self.strength = 1.0
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict({adapter: nn.Parameter(tensors[name])}))

    def tensor(self, name: str) -> nn.Parameter:
        """One of the trained tensors."""
        return getattr(self, name)[self.adapter]

    def set_scale(self, adapter: str, scale: float) -> None:
        """The strength to draw with, if it is this adapter's that is meant; 1 is as trained."""
        if adapter == self.adapter:
            self.strength = scale

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """It is always on."""

    def delete_adapter(self, adapter_name: str) -> None:
        """Drop the tensors of the adapter of that name, if it is this one."""
        for name in self.adapter_layer_names:
            if adapter_name in getattr(self, name):
                del getattr(self, name)[adapter_name]


class LayerAdapter(Adapter):
    """A kind of adapter that makes its own layers."""

    @abstractmethod
    def layers_for(self, site: LinearSite, adapter: str, generator: torch.Generator) -> dict[str, AdapterLayer]:
        """A fresh layer for each of `names(site)`, around the one that is there."""

    def peft_config(self, site: LinearSite) -> PeftConfig:
        """Only for a kind that is written as peft writes it."""
        raise NotImplementedError

    def place(self, name: str, site: LinearSite, seed: int) -> None:
        generator = torch.Generator().manual_seed(derived_seed(seed, self.name, name))
        for layer_name, layer in self.layers_for(site, self._adapter, generator).items():
            parent, _, child = layer_name.rpartition(".")
            device = weight_of(layer.base_layer).device
            setattr(site.module.get_submodule(parent), child, layer.to(device).train(site.module.training))


def weight_of(layer: nn.Module) -> Tensor:
    """The frozen weight of a linear layer or a convolution, (out, in) or (out, in, h, w), also under adapters."""
    return cast(Tensor, layer.weight)


def width_of(layer: nn.Module) -> tuple[int, int]:
    """Values that come into and out of a linear layer or, for each pixel, a convolution."""
    weight = weight_of(layer)
    return weight.shape[1], weight.shape[0]


def is_linear(layer: nn.Module) -> bool:
    """Whether a layer, or the one under its adapters, is a linear one: a convolution of one pixel is, on each."""
    weight = weight_of(layer)
    return weight.ndim == 2 or weight[0, 0].numel() == 1


def on_features(layer: nn.Module, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `change` to features, which are the last axis of what a layer takes and gives or, of pixels, the second."""
    return change(x) if weight_of(layer).ndim == 2 else change(x.movedim(1, -1)).movedim(-1, 1)
