"""T-LoRA: updates that lose rank where there is more noise, for a single photo (Soboleva et al., 2507.05964)."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import OWN_PRIOR, MethodConfig, Subject
from booth.core.sites import LinearSite
from booth.methods.adapter_layers import AdapterLayer, LayerAdapter, is_linear, on_features, width_of
from booth.methods.adapters import AdapterConfig

FILE = "t_lora.safetensors"
GRID = 4096  # points at which a density of singular values is summed


class TLoRAConfig(AdapterConfig):
    """Settings of T-LoRA. Ranks, rate, steps and layers are those of the paper for Stable Diffusion XL."""

    steps: int = Field(800, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of the denoiser's adapter")
    targets: tuple[str, ...] = Field(
        ("attention",), min_length=1, description="groups of layers: attention, feed_forward, and others the base has"
    )
    rank: int = Field(64, ge=1, description="rank of each update where there is no noise; no layer exceeds its width")
    min_rank: int = Field(32, ge=1, description="rank of it where there is nothing but noise")

    @model_validator(mode="after")
    def _in_order(self) -> TLoRAConfig:
        if self.min_rank > self.rank:
            raise ValueError(f"min_rank is {self.min_rank} and rank {self.rank}: set min_rank to rank at most")
        return self


class Clock(threading.local):
    """How much noise there is in what the denoiser is looking at, in each thread that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: Tensor | None = None  # (B,), or (1,) where all rows have the same, from 0 to 1

    def follow(self, model: Family) -> RemovableHandle:
        """Read it off every call of the denoiser, in training and in drawing."""
        denoiser: Any = model.sites.denoiser
        signature = inspect.signature(denoiser.forward)

        def read(module: nn.Module, args: Any, kwargs: Any) -> None:
            levels = model.noise_level(signature.bind(*args, **kwargs).arguments).detach().float().flatten()
            self.levels = levels[:1] if bool((levels == levels[0]).all()) else levels

        return denoiser.register_forward_pre_hook(read, with_kwargs=True)


class TLoRALayer(AdapterLayer):
    """y = W x + B (s * m * (A x)) - B0 (s0 * m * (A0 x)), of which the m first ranks count at this noise level."""

    adapter_layer_names = ("t_lora_A", "t_lora_B", "t_lora_S")
    start_names = ("start_A", "start_B", "start_S")

    def __init__(self, base: nn.Module, adapter: str, clock: Clock | None, ranks: tuple[int, int], start: list[Tensor]):
        super().__init__(base, adapter, **dict(zip(self.adapter_layer_names, (t.clone() for t in start), strict=True)))
        self.clock, (self.rank, self.least) = clock, ranks
        self.axis = 0  # of the batch in what comes in
        for name, tensor in zip(self.start_names, start, strict=True):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        base: Any = self.base_layer
        return base(x) + on_features(base, x, self.update)

    def update(self, x: Tensor) -> Tensor:
        """What is added to the output for features on the last axis."""
        down, up, scale = (self.tensor(name) for name in self.adapter_layer_names)
        features, mask = x.to(down.dtype), self.mask(x)
        learned = F.linear(F.linear(features, down) * (scale * mask), up)
        start: Any = (self.start_A, self.start_B, self.start_S)
        before = F.linear(F.linear(features, start[0]) * (start[2] * mask), start[1])
        return (self.strength * (learned - before)).to(x.dtype)

    def mask(self, x: Tensor) -> Tensor:
        """(r,), or (B, 1, ..., r) where rows differ: 1 for the ranks that count."""
        places = torch.arange(len(self.tensor("t_lora_S")), device=x.device)
        if self.clock is None or self.clock.levels is None:
            return torch.ones_like(places, dtype=torch.float32)
        levels = self.clock.levels.to(x.device)
        if len(levels) == 1:
            return (places < self.count(levels)).float()
        axis = self.axis
        if x.shape[axis] % len(levels):
            raise UsageError(
                "This base mixes the rows of a batch, which T-LoRA keeps apart.",
                "Set batch_size to 1.",
                code="batch_size.unfit",
                field="settings.batch_size",
            )
        levels = levels.repeat_interleave(x.shape[axis] // len(levels))  # one in each layer's place, say, of each token
        counting = (places < self.count(levels)[:, None]).float()
        return counting.view(*(len(levels) if i == axis else 1 for i in range(x.ndim - 1)), -1)

    def count(self, levels: Tensor) -> Tensor:
        """How many ranks count: floor((1 - t) (r - r_min)) + r_min."""
        return torch.floor((1 - levels.clamp(0, 1)) * (self.rank - self.least)) + self.least


class TLoRA(LayerAdapter):
    """Where there is much noise a single photo is learned by heart, place and all, so that fewer ranks may learn there.

    Ranks are told apart by starting orthonormal, as the last singular vectors of a random matrix, whose part is
    subtracted. Nothing else reads the file yet: a LoRA with all ranks at all noise levels would draw burnt pictures.
    """

    name = "t_lora"
    title = "T-LoRA"
    trains = "low-rank matrices beside the denoiser's attention layers, of fewer ranks the more noise there is"
    files = (FILE,)
    Config = TLoRAConfig
    tiny = OWN_PRIOR | {
        "steps": 400,
        "learning_rate": 1e-3,
        "batch_size": 2,
        "text_encoder_learning_rate": 5e-4,
        "rank": 32,
        "min_rank": 16,
    }
    layer = TLoRALayer
    prefix = "t_lora_"

    config: TLoRAConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._clock = Clock()
        self._hook: RemovableHandle | None = None

    def inject(self, model: Family, seed: int) -> None:
        super().inject(model, seed)
        self._hook = self._clock.follow(model)
        for name, layer in self._own_layers(self._denoiser_of(model)):
            layer.axis = int(name.endswith(model.sequence_first))
        for name in self._modules.keys() & model.sites.text_encoders.keys():
            for _, layer in self._own_layers(name):
                layer.clock = None  # it is not told how much noise there is

    def detach(self, model: Family) -> None:
        super().detach(model)
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._clock.levels = None, None

    def sites(self, model: Family) -> dict[str, LinearSite]:
        sites = super().sites(model)
        for site in sites.values():
            for name in self.names(site):
                if not is_linear(site.module.get_submodule(name)):
                    raise UsageError(
                        "T-LoRA is for linear layers only.",
                        f"Leave {name} out of its targets.",
                        code="targets.not_linear",
                        field="settings.targets",
                    )
        return sites

    def layers_for(self, site: LinearSite, adapter: str, generator: torch.Generator) -> dict[str, TLoRALayer]:
        made: dict[str, TLoRALayer] = {}
        for name in self.names(site):
            base = site.module.get_submodule(name)
            rank = min(self.config.rank, *width_of(base))
            start = last_singular(*width_of(base), rank, generator)
            made[name] = TLoRALayer(base, adapter, self._clock, (rank, min(self.config.min_rank, rank)), start)
        return made

    def learned(self) -> Mapping[str, Tensor]:
        """With what is subtracted, without which the rest means another update."""
        starts = {f"{component}.{n}": t for component in self._modules for n, t in self._starts(component).items()}
        return {**super().learned(), **starts}

    def write(self, model: Family, folder: Path) -> None:
        saved = {f"{c}.{n}": t for c in self._modules for n, t in {**self.tensors(c), **self._starts(c)}.items()}
        about = {"rank": self.config.rank, "min_rank": self.config.min_rank}
        save_file({n: t.detach().cpu() for n, t in saved.items()}, folder / FILE, {"t_lora": json.dumps(about)})

    def read(self, folder: Path, model: Family) -> dict[str, dict[str, Tensor]]:
        if not (folder / FILE).is_file():
            raise BadDataError(
                f"{folder / FILE} is missing: this folder holds no T-LoRA.",
                "Train it again.",
                code="concept.weights_missing",
            )
        saved: dict[str, dict[str, Tensor]] = {}
        for key, tensor in load_file(folder / FILE).items():
            component, _, name = key.partition(".")
            if name.rpartition(".")[2] in TLoRALayer.adapter_layer_names:
                saved.setdefault(component, {})[name] = tensor
        return saved

    def restore(self, model: Family, folder: Path) -> None:
        super().restore(model, folder)
        saved = load_file(folder / FILE)
        for component in self._modules:
            for name, start in self._starts(component).items():
                start.copy_(saved[f"{component}.{name}"])

    def _denoiser_of(self, model: Family) -> str:
        return next(name for name, site in model.sites.linears.items() if site.module is model.sites.denoiser)

    def _own_layers(self, component: str) -> Iterator[tuple[str, TLoRALayer]]:
        return ((n, layer) for n, layer in self.layers(self._modules[component]) if layer.adapter == self._adapter)

    def _starts(self, component: str) -> dict[str, Tensor]:
        """What is subtracted, by names like those of what is trained."""
        layers = self._own_layers(component)
        return {f"{name}.{part}": getattr(layer, part) for name, layer in layers for part in layer.start_names}


def last_singular(taken: int, given: int, rank: int, generator: torch.Generator) -> list[Tensor]:
    """A (r, in), B (out, r) and s (r,) as of the last r singular values of a random matrix N(0, 1 / r^2).

    Its singular vectors are orthonormal and otherwise random, whatever its values, and these lie close to where
    Marchenko and Pastur's law puts them; so nothing is decomposed, which would take minutes for a large base.
    """
    down, up = (torch.linalg.qr(torch.randn(n, rank, generator=generator))[0] for n in (taken, given))
    small, large = sorted((taken, given))
    low, high = (1 - (small / large) ** 0.5) ** 2, (1 + (small / large) ** 0.5) ** 2
    squares = torch.linspace(low, high, GRID + 2, dtype=torch.float64)[1:-1]
    share = (((high - squares) * (squares - low)).sqrt() / squares).cumsum(0)
    places = (torch.arange(rank, 0, -1, dtype=torch.float64) - 0.5) / small
    found = squares[torch.searchsorted(share / share[-1], places).clamp(max=GRID - 1)]
    return [down.T.contiguous(), up.contiguous(), (found * large).sqrt().float() / rank]
