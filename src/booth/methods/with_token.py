"""What methods share that train a token besides weights: its settings, and how both parts are made of them."""

from __future__ import annotations

from pydantic import Field

from booth.core.method import MethodConfig, Subject
from booth.methods.lora import LoRAConfig
from booth.methods.textual_inversion import TextualInversion, TextualInversionConfig


class TokenConfig(MethodConfig):
    """Settings of the token. Its prompt is "a photo of <token> <noun>": an adjective, whose noun stays."""

    token_learning_rate: float = Field(5e-4, gt=0, description="peak learning rate of the token's rows")
    vectors: int = Field(1, ge=1, le=64, description="rows of the token")
    init_word: str | None = Field(None, description="word whose row is the token's start; none = the class noun")
    keep_norm: bool = Field(True, description="pull the token's rows towards the table's median norm")


class TokenLoRAConfig(LoRAConfig, TokenConfig):
    """Settings of a token and a LoRA."""

    steps: int = Field(1000, ge=1, description="optimiser steps of the LoRA")


def token_of(config: TokenConfig, subject: Subject, **own: object) -> TextualInversion:
    """The token's part as Textual Inversion, with `own` settings instead of the shared ones."""
    values = {name: getattr(config, name) for name in (*MethodConfig.model_fields, "vectors", "init_word", "keep_norm")}
    values |= {"learning_rate": config.token_learning_rate, "templates": "plain"} | own
    return TextualInversion(TextualInversionConfig(**values), subject)


def lora_config_of(config: LoRAConfig) -> LoRAConfig:
    """The LoRA's part of the settings."""
    return LoRAConfig(**{name: getattr(config, name) for name in LoRAConfig.model_fields})
