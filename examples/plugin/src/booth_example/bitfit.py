"""BitFit: nothing but a bias for each layer (Ben Zaken et al., 2106.10199)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.sites import Coverage, LinearSite

FILE = "bitfit.safetensors"


class BitFitConfig(MethodConfig):
    """Settings of BitFit."""

    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of the biases")
    targets: tuple[str, ...] = Field(("attention", "feed_forward"), min_length=1, description="groups of layers")
    pull: float = Field(0.0, ge=0, description="weight of the squared length of what is learned, added to the loss")


class BitFit(Method):
    """y = W x + b + s d, with a d for every linear layer of the denoiser that starts as zero; s is the strength."""

    name = "bitfit"
    title = "BitFit"
    trains = "a bias for each of the denoiser's linear layers"
    needs = ("linears", "denoiser")
    files = (FILE,)
    over_quantised = True
    Config = BitFitConfig
    tiny = {"steps": 400, "learning_rate": 1e-2, "batch_size": 4}

    config: BitFitConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._place = ""  # the name of the biases in the denoiser
        self._biases: dict[str, nn.Parameter] = {}  # by layer
        self._hooks: list[RemovableHandle] = []
        self._strength = 1.0

    def coverage(self, model: Family) -> Mapping[str, Coverage]:
        name, site = self._site(model)
        return {name: site.coverage(site.layers(list(self.config.targets)))}

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        biases = self._insert(model)
        return [ParameterGroup("biases", biases, self.config.learning_rate, weight_decay=0.0)]

    def detach(self, model: Family) -> None:
        for hook in self._hooks:
            hook.remove()
        if self._biases:
            delattr(model.sites.denoiser, self._place)
        self._biases, self._hooks, self._strength = {}, [], 1.0

    def penalty(self) -> Tensor | None:
        if not self.config.pull:
            return None
        return self.config.pull * torch.stack([b.square().sum() for b in self._biases.values()]).sum()

    def write(self, model: Family, folder: Path) -> None:
        save_file({n: b.detach().cpu().contiguous() for n, b in self._biases.items()}, folder / FILE)

    def restore(self, model: Family, folder: Path) -> None:
        saved = load_file(folder / FILE) if (folder / FILE).is_file() else {}
        live = self._insert(model)
        if saved.keys() != live.keys() or any(saved[n].shape != live[n].shape for n in live):
            self.detach(model)
            raise BadDataError(f"{folder / FILE} does not fit. Use the base and settings that the concept names.")
        for name, bias in live.items():
            bias.requires_grad_(False).copy_(saved[name])

    def set_strength(self, strength: float) -> None:
        self._strength = strength

    def _site(self, model: Family) -> tuple[str, LinearSite]:
        model.sites.require(self.title, model.title, self.needs)
        return next((n, s) for n, s in model.sites.linears.items() if s.module is model.sites.denoiser)

    def _insert(self, model: Family) -> dict[str, nn.Parameter]:
        """Zeros in a module of the denoiser, where its tensors are counted, and a hook that adds them to each layer."""
        _, site = self._site(model)
        layers = {n: site.module.get_submodule(n) for n in site.layers(list(self.config.targets))}
        made = nn.ParameterList([nn.Parameter(torch.zeros(layer.out_features)) for layer in layers.values()])
        made.to(next(site.module.parameters()).device)
        self._place = next(n for n in (f"bitfit{i}" for i in range(99)) if not hasattr(site.module, n))
        site.module.add_module(self._place, made)
        self._biases = dict(zip(layers, made, strict=True))
        self._hooks = [layer.register_forward_hook(self._adding(made[i])) for i, layer in enumerate(layers.values())]
        return self._biases

    def _adding(self, bias: nn.Parameter) -> Any:
        return lambda layer, inputs, output: output + (self._strength * bias).to(output.dtype)
