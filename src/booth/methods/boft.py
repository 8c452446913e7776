"""BOFT: rotations of the inputs of frozen layers, made of butterflies of small ones (Liu et al., 2311.06243)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from peft import BOFTConfig as PeftBOFTConfig
from peft import PeftConfig
from pydantic import Field
from torch import Tensor

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import OWN_PRIOR
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapter_layers import AdapterLayer, LayerAdapter, is_linear, on_features, width_of
from booth.methods.adapters import AdapterConfig


class BOFTConfig(AdapterConfig):
    """Settings of BOFT. A feature meets block_size * 2^(factors - 1) others; one factor is OFT, with a scale."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay, which would pull the scales towards 0")
    block_size: int = Field(8, ge=2, multiple_of=2, description="side of each rotation, an even number")
    factors: int = Field(4, ge=1, le=8, description="how many rotations with the features shuffled between")


class BOFTLayer(AdapterLayer):
    """y = s * (W (x R)) + b with R = R_m ... R_1, each block-diagonal between a shuffle and its inverse."""

    adapter_layer_names = ("boft_R", "boft_s")

    def __init__(self, base: Any, adapter: str, block_size: int, factors: int) -> None:
        taken, given = width_of(base)
        blocks = taken // block_size
        scale = torch.ones((given, 1) if base.weight.ndim == 2 else (1, given))  # as peft has it
        super().__init__(base, adapter, boft_R=torch.zeros(factors, blocks, block_size, block_size), boft_s=scale)
        self._shuffles = [shuffle(taken, block_size, i, factors) for i in range(factors)]

    def forward(self, x: Tensor) -> Tensor:
        base = self.base_layer
        rotated = on_features(base, x, self.rotated)
        result = base(rotated)
        scale = 1 + self.strength * (self.tensor("boft_s").flatten() - 1)
        bias = cast("Tensor | None", base.bias)
        bias = 0.0 if bias is None else bias
        return on_features(base, result, lambda y: ((y - bias) * scale + bias).to(x.dtype))

    def rotated(self, x: Tensor) -> Tensor:
        """x R for features on the last axis."""
        free = self.strength * self.tensor("boft_R").float()
        skew = (free - free.transpose(-1, -2)) / 2
        same = torch.eye(skew.shape[-1], device=skew.device)
        with torch.autocast(x.device.type, enabled=False):
            rotations = torch.linalg.solve(same + skew, same - skew, left=False)
        turned = x.to(rotations.dtype)
        for order, rotation in reversed(list(zip(self._shuffles, rotations, strict=True))):
            order = order.to(x.device)
            blocks = turned[..., order.argsort()].unflatten(-1, rotation.shape[:2])
            turned = torch.einsum("...db,dbc->...dc", blocks, rotation).flatten(-2)[..., order]
        return turned.to(x.dtype)


class BOFT(PeftFolder, LayerAdapter):
    """W' = diag(s) W R; every block of each factor is (I - Q)(I + Q)^-1 of a skew-symmetric Q, which starts as zero.

    The files are peft's. Its own layers multiply the rotations out to whole matrices, for several factors only on a GPU
    and with a compiler; those here turn the features, which needs neither.
    """

    name = "boft"
    title = "BOFT"
    trains = "several block-diagonal rotations before each linear layer of the denoiser, and a scale of each output"
    Config = BOFTConfig
    tiny = OWN_PRIOR | {
        "steps": 400,
        "learning_rate": 1e-3,
        "batch_size": 2,
        "text_encoder_learning_rate": 5e-4,
        "block_size": 4,
        "factors": 2,
    }
    layer = BOFTLayer
    prefix = "boft_"

    config: BOFTConfig

    def layers_for(self, site: LinearSite, adapter: str, generator: torch.Generator) -> dict[str, BOFTLayer]:
        size, factors = self.config.block_size, self.config.factors
        return {n: BOFTLayer(site.module.get_submodule(n), adapter, size, factors) for n in self.names(site)}

    def peft_config(self, site: LinearSite) -> PeftConfig:
        return PeftBOFTConfig(
            boft_block_size=self.config.block_size,
            boft_n_butterfly_factor=self.config.factors,
            target_modules=self.target_modules(site),
        )

    def sites(self, model: Family) -> dict[str, LinearSite]:
        sites, reach = super().sites(model), self.config.block_size * 2 ** (self.config.factors - 1)
        for site in sites.values():
            for name in self.names(site):
                layer = site.module.get_submodule(name)
                if not is_linear(layer):
                    raise UsageError(
                        "BOFT turns the inputs of linear layers only.",
                        f"Leave {name} out of its targets.",
                        code="targets.not_linear",
                        field="settings.targets",
                    )
                if width_of(layer)[0] % reach:
                    raise UsageError(
                        f"The input of {name} is {width_of(layer)[0]} wide, which {reach}, the reach of "
                        f"{self.config.factors} factors of blocks of {self.config.block_size}, does not divide.",
                        "Set a smaller block_size or fewer factors, or leave that layer out with blocks.",
                        code="block_size.unfit",
                        field="settings.block_size",
                    )
        return sites


def shuffle(width: int, block_size: int, factor: int, factors: int) -> Tensor:
    """Where each feature comes from before one factor's blocks: halves of blocks that are 2^factor apart meet."""
    if factors == 1:
        return torch.arange(width)
    half, span = block_size // 2, block_size * 2**factor
    units = torch.arange(span).view(-1, half)  # half blocks within a span
    order = torch.cat([units[0::2], units[1::2]]).flatten()
    assert math.gcd(width, span) == span
    return (torch.arange(0, width, span)[:, None] + order).flatten()
