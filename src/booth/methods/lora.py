"""LoRA: low-rank updates beside frozen linear layers (Hu et al., 2106.09685), through peft."""

from __future__ import annotations

from pydantic import Field

from booth.core.method import OWN_PRIOR
from booth.methods.adapter_files import LowRank, LowRankConfig


class LoRAConfig(LowRankConfig):
    """Settings of LoRA. The update is alpha / rank times B A; rates of trainers with another alpha do not compare."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")


class LoRA(LowRank):
    """Adapters on the linear layers of the denoiser, and of the text encoders on request."""

    name = "lora"
    title = "LoRA"
    trains = "low-rank matrices beside the denoiser's linear layers (and the text encoders' with train_text_encoder)"
    Config = LoRAConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 5e-4, "batch_size": 2, "text_encoder_learning_rate": 5e-4}

    config: LoRAConfig
