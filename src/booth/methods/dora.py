"""DoRA: LoRA that learns a weight's direction and magnitude apart (Liu et al., 2402.09353), through peft."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import Tensor, nn

from booth.core.family import Family
from booth.core.method import OWN_PRIOR, MethodConfig, Subject
from booth.methods.adapter_files import LowRank
from booth.methods.adapters import RankedConfig

MAGNITUDE = "lora_magnitude_vector"


class DoRAConfig(RankedConfig):
    """Settings of DoRA. There is no dropout: peft leaves it out of a model in evaluation mode, and LyCORIS always."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")


class DoRA(LowRank):
    """W' = m (W + B A) / |W + B A|, a norm for each output row, which takes no gradient; m starts as |W|."""

    name = "dora"
    title = "DoRA"
    trains = "low-rank matrices beside the denoiser's linear layers, and the magnitude of each of their rows"
    Config = DoRAConfig
    tiny = OWN_PRIOR | {"steps": 400, "learning_rate": 5e-4, "batch_size": 2, "text_encoder_learning_rate": 5e-4}
    variant = {"use_dora": True}
    over_quantised = False
    reads_weights = True  # the length of each row

    config: DoRAConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._learned: dict[int, Tensor] = {}  # magnitudes as trained, by the layer's id, once a strength is set

    def detach(self, model: Family) -> None:
        super().detach(model)
        self._learned = {}

    def set_strength(self, strength: float) -> None:
        """Scale B A as LoRA does and go as far from |W| to the magnitude; peft leaves that where it is."""
        super().set_strength(strength)
        for module in self._modules.values():
            for _, layer in self.layers(module):
                if self._adapter in layer.lora_magnitude_vector:
                    magnitude = layer.lora_magnitude_vector[self._adapter].weight
                    learned = self._learned.setdefault(id(layer), magnitude.detach().clone())
                    start = _row_norms(layer).view_as(learned).to(learned)
                    magnitude.data.copy_(torch.lerp(start, learned, strength))

    def factors(self, name: str) -> dict[str, nn.Parameter]:
        """As everywhere in files, the magnitude is no `.weight` of its own."""
        ending = f"{MAGNITUDE}.weight"
        return {n.replace(ending, MAGNITUDE): p for n, p in super().factors(name).items()}


def _row_norms(layer: LoraLayer) -> Tensor:
    weight: Any = layer.get_base_layer().weight
    return weight.detach().flatten(1).norm(dim=1)
