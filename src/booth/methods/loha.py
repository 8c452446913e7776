"""LoHa: an update that is the elementwise product of two low-rank ones (Hyeon-Woo et al., 2108.06098), through peft."""

from __future__ import annotations

from peft import LoHaConfig as PeftLoHaConfig
from peft import PeftConfig
from peft.tuners.loha import LoHaLayer
from pydantic import Field

from booth.core.method import OWN_PRIOR
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapters import RankedAdapter, RankedConfig


class LoHaConfig(RankedConfig):
    """Settings of LoHa. A rank r costs twice as much as LoRA's and reaches r^2."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    rank: int = Field(8, ge=1, description="rank of each of the two factors' products")


class LoHa(PeftFolder, RankedAdapter):
    """dW = alpha / rank (A1 B1) * (A2 B2); all start Kaiming-uniform but B2, which is zero."""

    name = "loha"
    title = "LoHa"
    trains = "two pairs of low-rank matrices beside each linear layer of the denoiser, multiplied elementwise"
    Config = LoHaConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 1e-3, "batch_size": 2, "text_encoder_learning_rate": 5e-4}
    layer = LoHaLayer
    prefix = "hada_"

    config: LoHaConfig

    def peft_config(self, site: LinearSite) -> PeftConfig:
        return PeftLoHaConfig(
            r=self.config.rank,
            alpha=self.alpha,  # type: ignore[arg-type]  # peft's annotation is too narrow
            target_modules=self.target_modules(site),
            **self.patterns(site),
        )
