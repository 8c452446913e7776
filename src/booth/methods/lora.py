"""LoRA: low-rank updates beside frozen linear layers (Hu et al., 2106.09685), through peft."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.rng import derived_seed
from booth.core.sites import LinearSite

FILE = "pytorch_lora_weights.safetensors"


class LoRAConfig(MethodConfig):
    """Settings of LoRA. The update is alpha / rank times B A; rates of trainers with another alpha do not compare."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    rank: int = Field(16, ge=1, description="rank of each update")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / rank; none = rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before A, while training only")
    targets: tuple[str, ...] = Field(
        ("attention", "feed_forward"), min_length=1, description="groups of linear layers: attention, feed_forward"
    )
    train_text_encoder: bool = Field(False, description="put an adapter on the text encoders too")
    text_encoder_learning_rate: float = Field(
        5e-5, gt=0, description="peak learning rate of the text encoders' adapters"
    )


class GradientDropout(nn.Module):
    """Dropout only while gradients are recorded, so that a preview drawn between two steps is not thinned out."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=torch.is_grad_enabled())


class LoRA(Method):
    """Adapters on the linear layers of the denoiser, and of the text encoders on request."""

    name = "lora"
    title = "LoRA"
    trains = "low-rank matrices beside the denoiser's linear layers (and the text encoders' with train_text_encoder)"
    needs = ("linears",)
    files = (FILE,)
    Config = LoRAConfig
    tiny = {"steps": 400, "learning_rate": 1e-3, "batch_size": 4, "text_encoder_learning_rate": 5e-4}

    config: LoRAConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._modules: dict[str, nn.Module] = {}  # the components that carry the adapter
        self._adapter = "default"

    @property
    def alpha(self) -> float:
        """The numerator of the update's scale."""
        return self.config.alpha or float(self.config.rank)

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        self._inject(model, seed)
        groups: list[ParameterGroup] = []
        for name in self._modules:
            rate = self.config.learning_rate
            if name in model.sites.text_encoders:
                rate = self.config.text_encoder_learning_rate
            parameters = {f"{name}.{n}": p for n, p in self._factors(name).items()}
            for p in parameters.values():
                p.requires_grad_(True)
            groups.append(ParameterGroup(name, parameters, rate, self.config.weight_decay))
        return groups

    def detach(self, model: Family) -> None:
        for module in self._modules.values():
            for name, layer in list(_layers(module)):
                layer.delete_adapter(self._adapter)
                if not layer.lora_A:
                    parent, _, child = name.rpartition(".")
                    setattr(module.get_submodule(parent), child, layer.get_base_layer())
        self._modules = {}
        model.remember_embeddings(False)

    def set_strength(self, strength: float) -> None:
        for module in self._modules.values():
            for _, layer in _layers(module):
                layer.set_scale(self._adapter, strength)

    def write(self, model: Family, folder: Path) -> None:
        """The diffusers layout, with rank, alpha and targets in the file's header."""
        layers = {
            name: {n: p.detach().cpu().contiguous() for n, p in self._factors(name).items()} for name in self._modules
        }
        metadata = {
            name: {
                "r": self.config.rank,
                "lora_alpha": self.alpha,
                "target_modules": sorted(model.sites.linears[name].targets(list(self.config.targets))),
            }
            for name in self._modules
        }
        model.write_lora(folder, layers, metadata)

    def restore(self, model: Family, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise BadDataError(f"{folder / FILE} is missing: this folder holds no LoRA. Train it again.")
        saved = model.read_lora(folder)
        self._inject(model, seed=0)
        for name in self._modules:
            factors, tensors = self._factors(name), saved.get(name, {})
            misfit = sorted(factors.keys() ^ tensors.keys()) or [
                n for n in factors if factors[n].shape != tensors[n].shape
            ]
            if misfit:
                self.detach(model)
                raise BadDataError(
                    f"{folder / FILE} does not fit: {misfit[0]} in {name} differs ({len(misfit)} in all). "
                    "Use the base and the settings that the concept names."
                )
            with torch.no_grad():
                for n, p in factors.items():
                    p.copy_(tensors[n])

    def _inject(self, model: Family, seed: int) -> None:
        """Put fresh adapters in: A Kaiming-uniform (sqrt 5), B zero, in float32, none of them trainable yet."""
        model.sites.require(self.title, model.title, self.needs)
        sites = self._wanted(model)
        taken = {a for site in sites.values() for _, layer in _layers(site.module) for a in layer.lora_A}
        self._adapter = next(a for a in ("default", *(f"adapter{i}" for i in range(1, 99))) if a not in taken)
        for name, site in sites.items():
            config = LoraConfig(
                r=self.config.rank,
                lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft's annotation is too narrow
                lora_dropout=self.config.dropout,
                target_modules=site.targets(list(self.config.targets)),
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed(seed, self.name, name))
                inject_adapter_in_model(config, site.module, self._adapter)
            del site.module.peft_config  # this method keeps the books itself
            self._modules[name] = site.module
            for _, layer in _layers(site.module):
                layer.set_adapter(list(layer.lora_A))  # earlier concepts' adapters stay switched on
                if self.config.dropout:
                    layer.lora_dropout[self._adapter] = GradientDropout(self.config.dropout)
            site.module.requires_grad_(False)
            for p in self._factors(name).values():
                p.data = p.data.float()
        model.remember_embeddings(False)

    def _wanted(self, model: Family) -> dict[str, LinearSite]:
        with_text = self.config.train_text_encoder
        return {n: s for n, s in model.sites.linears.items() if with_text or n not in model.sites.text_encoders}

    def _factors(self, name: str) -> dict[str, nn.Parameter]:
        """A and B of every adapted layer of a component by peft's names, such as `....to_q.lora_A.weight`."""
        ending = f".{self._adapter}.weight"
        return {
            n.removesuffix(ending) + ".weight": p
            for n, p in self._modules[name].named_parameters()
            if n.endswith(ending) and ".lora_" in n
        }


def _layers(module: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            yield name, layer
