"""OFT: rotations of the inputs of frozen linear layers (Qiu et al., 2306.07280), through peft."""

from __future__ import annotations

from typing import Any

from peft import OFTConfig as PeftOFTConfig
from peft import PeftConfig
from peft.tuners.oft import OFTLayer
from pydantic import Field
from torch import Tensor

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import OWN_PRIOR, MethodConfig, Subject
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapters import AdapterConfig


class OFTConfig(AdapterConfig):
    """Settings of OFT. It multiplies the weights instead of adding to them, so that there is no rank and no alpha."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    targets: tuple[str, ...] = Field(
        ("attention", "feed_forward"), min_length=1, description="groups of linear layers: attention, feed_forward"
    )
    block_size: int = Field(32, ge=2, description="side of each rotation; divides the width of every layer's input")


class OFT(PeftFolder):
    """W' = W R with R block-diagonal, each block (I - Q)(I + Q)^-1 with a skew-symmetric Q, which starts as zero.

    This is the exact Cayley transform. peft's default, the first terms of its series, is a rotation for small Q only.
    """

    name = "oft"
    title = "OFT"
    trains = "a block-diagonal rotation before each linear layer of the denoiser"
    Config = OFTConfig
    tiny = OWN_PRIOR | {
        "steps": 400,
        "learning_rate": 1e-3,
        "batch_size": 2,
        "block_size": 8,
        "text_encoder_learning_rate": 5e-4,
    }
    layer = OFTLayer
    prefix = "oft_"

    config: OFTConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._learned: dict[str, Tensor] = {}  # Q as trained, once a strength is set

    def peft_config(self, site: LinearSite) -> PeftConfig:
        return PeftOFTConfig(
            r=0,
            oft_block_size=self.config.block_size,
            use_cayley_neumann=False,
            target_modules=self.target_modules(site),
        )

    def sites(self, model: Family) -> dict[str, LinearSite]:
        sites = super().sites(model)
        for site in sites.values():
            for name in self.names(site):
                weight: Any = site.module.get_submodule(name).weight
                if weight[0, 0].numel() > 1:  # a convolution of one pixel is a linear layer on each
                    raise UsageError(
                        "OFT turns the inputs of linear layers only.",
                        f"Leave {name} out of its targets.",
                        code="targets.not_linear",
                        field="settings.targets",
                    )
                if weight.shape[1] % self.config.block_size:
                    raise UsageError(
                        f"The input of {name} is {weight.shape[1]} wide, which blocks of {self.config.block_size} do "
                        "not divide.",
                        "Set block_size to 8, 16 or 32, or leave that layer out with blocks.",
                        code="block_size.unfit",
                        field="settings.block_size",
                    )
        return sites

    def detach(self, model: Family) -> None:
        super().detach(model)
        self._learned = {}

    def set_strength(self, strength: float) -> None:
        """Turn less far, or farther: Q is multiplied by the strength, and no turn at all is the base."""
        for component in self._modules:
            for name, p in self.factors(component).items():
                learned = self._learned.setdefault(f"{component}.{name}", p.detach().clone())
                p.data.copy_(learned * strength)
