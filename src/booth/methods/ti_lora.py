"""A token and a LoRA learned at once, as diffusers' advanced scripts and kohya's trainers offer it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from torch import Tensor

from booth.core.family import Family
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.sites import Coverage
from booth.methods.lora import LoRA
from booth.methods.textual_inversion import TextualInversion
from booth.methods.with_token import TokenLoRAConfig, lora_config_of, token_of


class TextualInversionLoRAConfig(TokenLoRAConfig):
    """Settings of the joint training. The rates are those of pivotal tuning's two stages; that they suit is ours."""

    steps: int = Field(1000, ge=1, description="optimiser steps")


class TextualInversionLoRA(Method):
    """One stage in which the token's rows and the adapter receive the same gradient, each at its own rate.

    Against pivotal tuning it saves the token's stage, and gives the token no time to find its place alone.
    """

    name = "ti_lora"
    title = "Textual Inversion with LoRA"
    trains = "the new token's rows and low-rank matrices beside the denoiser's linear layers, together"
    needs = ("token_tables", "linears")
    learns_word = True
    over_quantised = True
    contains = ("textual_inversion", "lora", "pivotal_tuning")
    files = (*TextualInversion.files, *LoRA.files)
    Config = TextualInversionLoRAConfig
    tiny = LoRA.tiny | {"token_learning_rate": 3e-3}

    config: TextualInversionLoRAConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._token = token_of(self.config, subject)
        self._lora = LoRA(lora_config_of(self.config), subject)

    @property
    def trains_text_encoders(self) -> bool:
        return self._lora.trains_text_encoders

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        model.sites.require(self.title, model.title, self.needs)
        self._token.attach(model, seed)
        groups = self._lora.attach(model, seed)
        # Last, because an adapter on a text encoder freezes all that is there when it comes in.
        return [self._token.moving(self.config.token_learning_rate), *groups]

    def coverage(self, model: Family) -> Mapping[str, Coverage]:
        return self._lora.coverage(model)

    def detach(self, model: Family) -> None:
        self._lora.detach(model)
        self._token.detach(model)

    def constrain(self) -> None:
        self._token.constrain()

    def learned(self) -> Mapping[str, Tensor]:
        return {**self._token.learned(), **self._lora.learned()}

    def write(self, model: Family, folder: Path) -> None:
        self._token.write(model, folder)
        self._lora.write(model, folder)

    def restore(self, model: Family, folder: Path) -> None:
        self._token.restore(model, folder)
        self._lora.restore(model, folder)

    def set_strength(self, strength: float) -> None:
        """Scale the LoRA; the token has no strength."""
        self._lora.set_strength(strength)
