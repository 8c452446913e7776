"""LoKr: an update that is a Kronecker product of small matrices (Yeh et al., 2309.14859), through peft."""

from __future__ import annotations

from peft import LoKrConfig as PeftLoKrConfig
from peft import PeftConfig
from peft.tuners.lokr import LoKrLayer
from pydantic import Field

from booth.core.method import OWN_PRIOR
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapters import RankedAdapter, RankedConfig


class LoKrConfig(RankedConfig):
    """Settings of LoKr.

    A second block that the rank would not make smaller stays whole. LyCORIS then forces the scale to 1 and peft does
    not: they agree where alpha is unset.
    """

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    factor: int = Field(
        -1, ge=-1, description="a divisor near which each side of a weight is split; -1 = near its square root"
    )


class LoKr(PeftFolder, RankedAdapter):
    """dW = alpha / rank C (x) (B A); C starts as zero, the others Kaiming-uniform."""

    name = "lokr"
    title = "LoKr"
    trains = "two small matrices beside each linear layer of the denoiser, whose Kronecker product is the update"
    Config = LoKrConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 1e-3, "batch_size": 2, "text_encoder_learning_rate": 5e-4}
    layer = LoKrLayer
    prefix = "lokr_"

    config: LoKrConfig

    def peft_config(self, site: LinearSite) -> PeftConfig:
        return PeftLoKrConfig(
            r=self.config.rank,
            alpha=self.alpha,  # type: ignore[arg-type]  # peft's annotation is too narrow
            decompose_factor=self.config.factor,
            target_modules=self.target_modules(site),
            **self.patterns(site),
        )
