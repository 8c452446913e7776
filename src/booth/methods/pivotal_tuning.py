"""Pivotal tuning: first a token, then a LoRA around it (PTI of cloneofsimo/lora, after Roich et al., 2106.05744)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from booth.core.family import Family
from booth.core.method import Method, MethodConfig, ParameterGroup, Stage, Subject
from booth.methods.lora import LoRA, LoRAConfig
from booth.methods.textual_inversion import TextualInversion
from booth.methods.with_token import TokenLoRAConfig, lora_config_of, token_of


class PivotalTuningConfig(TokenLoRAConfig):
    """Settings of pivotal tuning. Plain names are the LoRA stage's; steps and rates are those of `lora_pti`.

    Its token goes on moving at 1e-4 in the second stage. The text encoder's adapter is off here, as in LoRA; the
    original has one, at 1e-5.
    """

    token_steps: int = Field(1000, ge=1, description="steps of the token stage")
    token_batch_size: int = Field(4, ge=1, description="photos a step of the token stage")
    token: Literal["moving", "frozen"] = Field("moving", description="what the token does in the LoRA stage")
    moving_learning_rate: float = Field(
        1e-4, gt=0, description="peak learning rate of the token's rows in the LoRA stage, token=moving"
    )


class _Continued(LoRA):
    """The LoRA stage while the rows of the token stage go on moving. They are written and restored by that stage."""

    def __init__(self, config: LoRAConfig, subject: Subject, token: TextualInversion, rate: float) -> None:
        super().__init__(config, subject)
        self._token = token
        self._rate = rate

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        groups = super().attach(model, seed)
        return [*groups, self._token.moving(self._rate)]

    def constrain(self) -> None:
        self._token.constrain()


class PivotalTuning(Method):
    """A plan of Textual Inversion and then LoRA, with the token still moving or frozen.

    The token is the pivot: a point near which the model is bent as little as it takes. The two-stage method differs
    in that its second stage is short, replaces the prior and keeps the token frozen. Gal et al. (2208.01618, appendix)
    report of such a second stage that editing collapses at high guidance; there the token stands for the noun too.
    """

    name = "pivotal_tuning"
    title = "Pivotal tuning"
    trains = "first the new token's rows, then low-rank matrices beside the denoiser's linear layers (and the rows)"
    needs = ("token_tables", "linears")
    learns_word = True
    contains = ("textual_inversion", "lora", "ti_lora")
    files = (*TextualInversion.files, *LoRA.files)
    Config = PivotalTuningConfig
    tiny = LoRA.tiny | {"token_steps": 250, "token_learning_rate": 3e-3, "moving_learning_rate": 1e-3}

    config: PivotalTuningConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        c = self.config
        # The class pictures of a prior hold no token, so that its stage has nothing to learn from them.
        token = token_of(c, subject, steps=c.token_steps, batch_size=c.token_batch_size, prior_weight=0.0)
        lora = lora_config_of(c)
        self._token = token
        self._lora = (
            LoRA(lora, subject) if c.token == "frozen" else _Continued(lora, subject, token, c.moving_learning_rate)
        )

    def plan(self) -> list[Stage]:
        return [Stage("token", self._token), Stage("lora", self._lora)]

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        """Attach both stages as the second begins."""
        model.sites.require(self.title, model.title, self.needs)
        for group in self._token.attach(model, seed):
            for parameter in group.parameters.values():
                parameter.requires_grad_(False)
        return self._lora.attach(model, seed)

    def detach(self, model: Family) -> None:
        self._lora.detach(model)
        self._token.detach(model)

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
