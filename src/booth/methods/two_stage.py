"""Two-stage: first the meaning of a rare adjective token, then the denoiser (Zeng et al., 2407.05312)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from booth.core.family import Family
from booth.core.method import Method, MethodConfig, Order, ParameterGroup, Stage, Subject
from booth.methods.dreambooth import DreamBooth, DreamBoothConfig
from booth.methods.lora import LoRA, LoRAConfig
from booth.methods.textual_inversion import TextualInversion, TextualInversionConfig

SHARED = set(MethodConfig.model_fields) - {"steps", "learning_rate", "batch_size", "weight_decay", "prior_weight"}


class TwoStageConfig(MethodConfig):
    """Settings of the two-stage method. Plain names are the second stage's; `token_` ones are the first's.

    All defaults are ours: the paper's learning rates and step counts were not available. They start from those of
    AttnDreamBooth (2406.05000), which has the same first stage: 60 steps at 1e-3 and batch 8, then, fast, 200 steps
    of the U-Net at 1e-5 and batch 4.
    """

    token_steps: int = Field(120, ge=1, description="steps of the token stage")
    token_learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of the token's rows")
    token_batch_size: int = Field(4, ge=1, description="photos a step of the token stage")
    vectors: int = Field(1, ge=1, le=64, description="rows of the token")
    init_word: str | None = Field(None, description="word whose row is the token's start; none = the class noun")
    keep_norm: bool = Field(True, description="pull the token's rows towards the table's median norm")
    second: Literal["full", "lora"] = Field("full", description="what the second stage trains: the denoiser or a LoRA")
    steps: int = Field(200, ge=1, description="steps of the denoiser stage; few of them replace the prior")
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate of the denoiser, second=full")
    lora_learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the LoRA, second=lora")
    batch_size: int = Field(4, ge=1, description="photos a step of the denoiser stage")
    rank: int = Field(16, ge=1, description="rank, second=lora")
    alpha: float | None = Field(None, gt=0, description="scale is alpha / rank, second=lora; none = rank")
    targets: tuple[str, ...] = Field(
        ("attention", "feed_forward"), min_length=1, description="groups of linear layers, second=lora"
    )


class TwoStage(Method):
    """A plan of Textual Inversion and then DreamBooth or LoRA, with token and text encoder frozen in the second stage.

    Both stages use "a photo of <token> <noun>": the token is an adjective and the noun is never replaced. There is
    no prior preservation; the frozen text encoder and a short second stage do its work (Zeng et al., 2407.05312).
    Relatives: Textual Inversion's appendix on pivotal tuning (2208.01618), which replaces the noun and reports that
    editing collapses at high guidance; PTI of cloneofsimo/lora, which goes on training the token; AttnDreamBooth
    (2406.05000), which puts a cross-attention stage between the two.
    """

    name = "two_stage"
    title = "Two-stage"
    trains = "first the new token's rows, then every weight of the denoiser (or a LoRA on it)"
    needs = ("token_tables", "denoiser", "linears")
    order = Order.WEIGHTS
    trains_denoiser = True
    learns_word = True
    contains = ("textual_inversion", "dreambooth", "lora", "ti_lora", "pivotal_tuning")
    files = (*TextualInversion.files, "unet/ or pytorch_lora_weights.safetensors")
    Config = TwoStageConfig
    tiny = {
        "token_steps": 250,
        "token_learning_rate": 3e-3,
        "steps": 200,
        "learning_rate": 3e-4,
        "lora_learning_rate": 1e-3,
        "ema": 0.98,
    }

    config: TwoStageConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._stages = [Stage("token", self._token()), Stage("denoiser", self._denoiser())]

    def _token(self) -> Method:
        c = self.config
        shared = {name: getattr(c, name) for name in SHARED}
        config = TextualInversionConfig(
            **shared,
            steps=c.token_steps,
            learning_rate=c.token_learning_rate,
            batch_size=c.token_batch_size,
            vectors=c.vectors,
            init_word=c.init_word,
            keep_norm=c.keep_norm,
            templates="plain",
        )
        return TextualInversion(config, self.subject)

    def _denoiser(self) -> Method:
        c = self.config
        shared = {name: getattr(c, name) for name in SHARED | {"steps", "batch_size", "weight_decay", "prior_weight"}}
        if c.second == "full":
            return DreamBooth(DreamBoothConfig(**shared, learning_rate=c.learning_rate), self.subject)
        adapter = {"rank": c.rank, "alpha": c.alpha, "targets": c.targets}
        return LoRA(LoRAConfig(**shared, **adapter, learning_rate=c.lora_learning_rate), self.subject)

    def plan(self) -> list[Stage]:
        return self._stages

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        """Attach both stages with the first frozen, as the second begins."""
        model.sites.require(self.title, model.title, self.needs)
        token, denoiser = (stage.method for stage in self._stages)
        for group in token.attach(model, seed):
            for parameter in group.parameters.values():
                parameter.requires_grad_(False)
        return denoiser.attach(model, seed)

    def detach(self, model: Family) -> None:
        for stage in reversed(self._stages):
            stage.method.detach(model)

    def learned(self) -> Mapping[str, Tensor]:
        return {name: tensor for stage in self._stages for name, tensor in stage.method.learned().items()}

    def write(self, model: Family, folder: Path) -> None:
        for stage in self._stages:
            stage.method.write(model, folder)

    def restore(self, model: Family, folder: Path) -> None:
        for stage in self._stages:
            stage.method.restore(model, folder)

    @property
    def has_strength(self) -> bool:
        return self._stages[-1].method.has_strength

    def set_strength(self, strength: float) -> None:
        """Scale the LoRA of the second stage; the token and a full fine-tuning have no strength."""
        self._stages[-1].method.set_strength(strength)
