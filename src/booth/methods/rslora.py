"""Rank-stabilised LoRA: the update is scaled by alpha / sqrt(rank) (Kalajdzievski, 2312.03732), through peft."""

from __future__ import annotations

from pydantic import Field

from booth.core.method import OWN_PRIOR
from booth.methods.adapter_files import LowRank, LowRankConfig


class RsLoRAConfig(LowRankConfig):
    """Settings of rank-stabilised LoRA, which is for high ranks. The default scale is 1, as LoRA's."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    rank: int = Field(64, ge=1, description="rank of each update")
    alpha: float | None = Field(8.0, gt=0, description="scale of the update is alpha / sqrt(rank); none = rank")


class RsLoRA(LowRank):
    """LoRA whose update keeps its size as the rank grows, where alpha / rank makes it shrink."""

    name = "rslora"
    title = "Rank-stabilised LoRA"
    trains = "low-rank matrices beside the denoiser's linear layers, scaled by alpha / sqrt(rank)"
    Config = RsLoRAConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 5e-4, "batch_size": 2, "text_encoder_learning_rate": 5e-4}
    variant = {"use_rslora": True}

    config: RsLoRAConfig
