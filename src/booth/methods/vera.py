"""VeRA: LoRA between two random matrices that all layers share and nobody trains (Kopiczko et al., 2310.11454)."""

from __future__ import annotations

import warnings

import torch
from peft import PeftConfig, VeraConfig
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.method import OWN_PRIOR
from booth.core.shared_matrices import KEY, shared_matrices
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapter_layers import AdapterLayer, LayerAdapter, width_of
from booth.methods.adapters import AdapterConfig

FIRST = 0.1  # d to begin with


class VeRAConfig(AdapterConfig):
    """Settings of VeRA. It trains two vectors a layer, at ten times LoRA's rate or more; a high rank costs little."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate of the denoiser's adapter")
    rank: int = Field(256, ge=1, description="rank of each update")


class VeRALayer(AdapterLayer):
    """y = W x + b * (B (d * (A x))), of A and B as much as the layer is wide."""

    adapter_layer_names = ("vera_lambda_b", "vera_lambda_d")

    def __init__(self, base: nn.Module, adapter: str, down: Tensor, up: Tensor) -> None:
        given = width_of(base)[1]
        super().__init__(base, adapter, vera_lambda_b=torch.zeros(given), vera_lambda_d=torch.full((len(down),), FIRST))
        self._shared = (down, up)  # in a tuple, so that neither is saved or counted with each layer

    def forward(self, x: Tensor) -> Tensor:
        result, (taken, given) = self.base_layer(x), width_of(self.base_layer)
        b, d = self.tensor("vera_lambda_b"), self.tensor("vera_lambda_d")
        down, up = (shared.to(x.device) for shared in self._shared)
        update = b * F.linear(d * F.linear(x.to(d.dtype), down[:, :taken]), up[:given])
        return (result + self.strength * update).to(result.dtype)


class VeRA(PeftFolder, LayerAdapter):
    """dW = diag(b) B diag(d) A; b starts as zero, d as 0.1, and A and B are drawn anew wherever the file is read.

    They come from peft's generator in peft's order, so that its `PeftModel` has the same. Convolutions carry none.
    """

    name = "vera"
    title = "VeRA"
    trains = "two vectors at each linear layer of the denoiser, around random matrices that all of them share"
    Config = VeRAConfig
    tiny = OWN_PRIOR | {
        "steps": 400,
        "learning_rate": 3e-2,
        "batch_size": 2,
        "rank": 64,
        "text_encoder_learning_rate": 1e-2,
    }
    layer = VeRALayer
    prefix = "vera_lambda_"

    config: VeRAConfig

    def names(self, site: LinearSite) -> list[str]:
        return [n for n in super().names(site) if site.module.get_submodule(n).weight.ndim == 2]

    def layers_for(self, site: LinearSite, adapter: str, generator: torch.Generator) -> dict[str, VeRALayer]:
        layers = {n: site.module.get_submodule(n) for n in self.names(site)}
        taken, given = (max(widths) for widths in zip(*map(width_of, layers.values()), strict=True))
        down, up = shared_matrices(self.config.rank, taken, given)
        return {n: VeRALayer(layer, adapter, down, up) for n, layer in layers.items()}

    def peft_config(self, site: LinearSite) -> PeftConfig:
        with warnings.catch_warnings():  # that the shared matrices are not saved, which is meant
            warnings.simplefilter("ignore", UserWarning)
            return VeraConfig(
                r=self.config.rank,
                target_modules=self.target_modules(site),
                projection_prng_key=KEY,
                save_projection=False,
                d_initial=FIRST,
            )
