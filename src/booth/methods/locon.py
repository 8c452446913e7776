"""LoCon: LoRA on the 3x3 convolutions too, as LyCORIS has it (Yeh et al., 2309.14859), through peft."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from booth.core.method import OWN_PRIOR
from booth.methods.adapter_files import LowRank, LowRankConfig


class LoConConfig(LowRankConfig):
    """Settings of LoCon. What LyCORIS calls conv_dim is conv_rank."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    targets: tuple[str, ...] = Field(
        ("attention", "feed_forward", "convolution"),
        min_length=1,
        description="groups of layers: attention, feed_forward, convolution",
    )
    conv_rank: int = Field(8, ge=1, description="rank of the convolutions' updates where ranks names no other")


class LoCon(LowRank):
    """Beside a convolution A is one of the same kernel into `conv_rank` channels and B a 1x1 convolution back."""

    name = "locon"
    title = "LoCon"
    trains = "low-rank matrices beside the denoiser's linear layers and 3x3 convolutions"
    needs = ("linears", "convolutions")
    contains = ("lora",)
    Config = LoConConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 5e-4, "batch_size": 2, "text_encoder_learning_rate": 5e-4}

    config: LoConConfig

    def usual_rank(self, layer: Any) -> int:
        return self.config.conv_rank if layer.weight.ndim > 2 else self.config.rank
