"""(IA)^3: a factor for each feature that a frozen layer takes or gives (Liu et al., 2205.05638), through peft."""

from __future__ import annotations

import torch
from peft import IA3Config as PeftIA3Config
from peft import PeftConfig
from peft.tuners.ia3 import IA3Layer
from pydantic import Field
from torch import Tensor

from booth.core.family import Family
from booth.core.method import OWN_PRIOR, MethodConfig, Subject
from booth.core.sites import LinearSite
from booth.methods.adapter_files import PeftFolder
from booth.methods.adapters import AdapterConfig

FEED_FORWARD = "feed_forward"


class IA3Config(AdapterConfig):
    """Settings of (IA)^3. It trains a thousandth of what LoRA does, at thirty times its rate (the paper's is 3e-3)."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate of the denoiser's adapter")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay, which would pull the factors towards 0")


class IA3(PeftFolder):
    """y = l * (W x + b) in attention and y = W (l * x) + b in feed-forward layers; l starts as ones.

    The paper scales keys, values and what comes between the two feed-forward layers; here all that is targeted is.
    """

    name = "ia3"
    title = "IA3"
    trains = "a factor for each feature that the denoiser's attention layers give and its feed-forward layers take"
    Config = IA3Config
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 3e-2, "batch_size": 2, "text_encoder_learning_rate": 1e-2}
    layer = IA3Layer
    prefix = "ia3_"

    config: IA3Config

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._learned: dict[str, Tensor] = {}  # factors as trained, once a strength is set

    def peft_config(self, site: LinearSite) -> PeftConfig:
        names = self.names(site)
        fed = {*site.layers([FEED_FORWARD])} if FEED_FORWARD in site.groups else set[str]()
        return PeftIA3Config(target_modules=names, feedforward_modules=[n for n in names if n in fed])

    def detach(self, model: Family) -> None:
        super().detach(model)
        self._learned = {}

    def set_strength(self, strength: float) -> None:
        """Go as far from 1 to each factor."""
        for component in self._modules:
            for name, p in self.factors(component).items():
                learned = self._learned.setdefault(f"{component}.{name}", p.detach().clone())
                p.data.copy_(torch.lerp(torch.ones_like(learned), learned, strength))
