"""DreamBooth: the whole denoiser learns the subject, with prior preservation (Ruiz et al., 2208.12242)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import OWN_PRIOR, Method, MethodConfig, Order, ParameterGroup, Subject


class DreamBoothConfig(MethodConfig):
    """Settings of DreamBooth; the full-size ones are those of diffusers' guide for training with a prior."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(5e-6, gt=0, description="peak learning rate of the denoiser")
    prior_weight: float = Field(1.0, ge=0, description="lambda of prior preservation; 0 = off")
    class_pictures: int = Field(200, ge=1, description="class pictures drawn from the frozen base for the prior")
    train_text_encoder: bool = Field(False, description="fine-tune the text encoder too")
    text_encoder_learning_rate: float = Field(2e-6, gt=0, description="peak learning rate of the text encoder")


class DreamBooth(Method):
    """Fine-tunes the denoiser, and the text encoders on request.

    What was there before is read again from the base's files when it is needed: that is exact, because nothing else
    changes those files or how they are read, and it keeps no second copy of the weights in memory while training.
    """

    name = "dreambooth"
    title = "DreamBooth"
    trains = "every weight of the denoiser (and of the text encoders with train_text_encoder)"
    needs = ("denoiser",)
    order = Order.WEIGHTS
    trains_denoiser = True
    files = ("unet/", "text_encoder/ (if trained)")
    Config = DreamBoothConfig
    tiny = OWN_PRIOR | {
        "steps": 300,
        "learning_rate": 2e-4,
        "batch_size": 2,
        "class_pictures": 32,
        "ema": 0.98,
        "text_encoder_learning_rate": 2e-5,
    }

    config: DreamBoothConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._changed: dict[str, nn.Module] = {}
        self._types: dict[str, torch.dtype] = {}  # what the base was loaded as

    @property
    def trains_text_encoders(self) -> bool:
        return self.config.train_text_encoder

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        groups: list[ParameterGroup] = []
        for name, module in self._claim(model).items():
            # Steps this small would be lost in half precision: the weights that move are kept in float32.
            _cast(module, torch.float32)
            module.requires_grad_(True)
            rate = self.config.learning_rate
            if name in model.sites.text_encoders:
                rate = self.config.text_encoder_learning_rate
            parameters = {f"{name}.{n}": p for n, p in module.named_parameters()}
            groups.append(ParameterGroup(name, parameters, rate, self.config.weight_decay))
        return groups

    def detach(self, model: Family) -> None:
        for name, module in self._changed.items():
            module.requires_grad_(False)
            _cast(module, self._types[name])
            module.load_state_dict(model.read_component(model.base, name))
            del module.taught_by
        self._changed = {}
        model.remember_embeddings(False)

    def learned(self) -> Mapping[str, Tensor]:
        return {f"{name}.{n}": p for name, module in self._changed.items() for n, p in module.named_parameters()}

    def write(self, model: Family, folder: Path) -> None:
        model.write_components(folder, list(self._changed))

    def restore(self, model: Family, folder: Path) -> None:
        states = {name: model.read_component(folder, name) for name in self._wanted(model)}
        for name, module in self._wanted(model).items():
            live, saved = module.state_dict(), states[name]
            if live.keys() != saved.keys() or any(live[k].shape != saved[k].shape for k in live):
                raise BadDataError(
                    f"{folder / name} does not fit the {name} of {model.base.name}.",
                    "Use the base that the concept "
                    "names; when drawing several concepts, name the DreamBooth concept first.",
                    code="concept.unfit",
                )
        for name, module in self._claim(model).items():
            module.load_state_dict(states[name])

    def _wanted(self, model: Family) -> dict[str, nn.Module]:
        """The components to change, by name."""
        sites = model.sites
        sites.require(self.title, model.title, self.needs)
        wanted = [sites.denoiser]
        if self.config.train_text_encoder:
            sites.require(f"{self.title} with train_text_encoder", model.title, ("text_encoders",))
            wanted += sites.text_encoders.values()
        return {name: m for name, m in model.components().items() if any(m is w for w in wanted)}

    def _claim(self, model: Family) -> dict[str, nn.Module]:
        """Mark the components as changed, and refuse one that another concept has changed already."""
        modules = self._wanted(model)
        for name, module in modules.items():
            if hasattr(module, "taught_by"):
                raise UsageError(
                    f"The {name} already holds the fine-tuning of {module.taught_by!r}, and there is only one {name}.",
                    "Draw with one DreamBooth concept at a time, or train the others as LoRA or Textual Inversion.",
                    code="concept.two_fill_one",
                    field="concepts",
                )
        for module in modules.values():
            module.taught_by = self.subject.name  # type: ignore[assignment]  # a plain attribute, not a tensor
        self._changed = modules
        self._types = {name: next(m.parameters()).dtype for name, m in modules.items()}
        model.remember_embeddings(False)
        return modules


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    if next(module.parameters()).dtype != dtype:
        module.to(dtype)
