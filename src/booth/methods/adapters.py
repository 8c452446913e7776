"""What all adapters through peft share: which layers carry one, how it comes in and how it goes out again."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import Field, field_validator
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.rng import derived_seed
from booth.core.sites import Coverage, LinearSite


class AdapterConfig(MethodConfig):
    """Settings of every adapter: where it sits."""

    targets: tuple[str, ...] = Field(
        ("attention", "feed_forward"),
        min_length=1,
        description="groups of layers: attention, feed_forward, and others that the base has, as a wrong name tells",
    )
    blocks: str | None = Field(
        None, description="only layers in whose full name this regular expression is found, as in attn2; none = all"
    )
    train_text_encoder: bool = Field(False, description="put an adapter on the text encoders too")
    text_encoder_learning_rate: float = Field(
        5e-5, gt=0, description="peak learning rate of the text encoders' adapters"
    )

    @field_validator("blocks")
    @classmethod
    def _is_expression(cls, value: str | None) -> str | None:
        return value if value is None else _expression(value)


class RankedConfig(AdapterConfig):
    """Settings of an adapter made of factors. Its update is scaled by alpha / rank."""

    rank: int = Field(16, ge=1, description="rank of each update")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / rank; none = rank")
    ranks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="other ranks, by regular expressions looked for in a layer's full name; the first found counts"
    )

    @field_validator("ranks")
    @classmethod
    def _are_expressions(cls, value: dict[str, int]) -> dict[str, int]:
        return {_expression(pattern): rank for pattern, rank in value.items()}


class Adapter(Method):
    """Puts layers around frozen ones, peft's unless the kind makes its own.

    A kind of adapter says which, and how it is written and read.
    """

    needs = ("linears",)
    layer: ClassVar[type[BaseTunerLayer]]
    prefix: ClassVar[str]  # what peft's names of the trained tensors begin with

    config: AdapterConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._modules: dict[str, nn.Module] = {}  # the components that carry the adapter
        self._adapter = "default"

    @abstractmethod
    def peft_config(self, site: LinearSite) -> PeftConfig:
        """What peft is told about a component."""

    @abstractmethod
    def read(self, folder: Path, model: Family) -> dict[str, dict[str, Tensor]]:
        """The tensors in a folder by component and name; BadDataError if there are none."""

    @property
    def trains_text_encoders(self) -> bool:
        return self.config.train_text_encoder

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        if self.config.train_text_encoder:
            self._require_text_encoder(model)
        self.inject(model, seed)
        groups: list[ParameterGroup] = []
        for name in self._modules:
            rate = self.config.learning_rate
            if name in model.sites.text_encoders:
                rate = self.config.text_encoder_learning_rate
            parameters = {f"{name}.{n}": p for n, p in self.factors(name).items()}
            for p in parameters.values():
                p.requires_grad_(True)
            groups.append(ParameterGroup(name, parameters, rate, self.config.weight_decay))
        return groups

    def detach(self, model: Family) -> None:
        for module in self._modules.values():
            for name, layer in list(self.layers(module)):
                layer.delete_adapter(self._adapter)
                if not _adapters(layer):
                    parent, _, child = name.rpartition(".")
                    # What it stands around may be an adapter of another kind, which stays.
                    setattr(module.get_submodule(parent), child, layer.base_layer)
        self._modules = {}
        model.remember_embeddings(False)

    def set_strength(self, strength: float) -> None:
        for module in self._modules.values():
            for _, layer in self.layers(module):
                layer.set_scale(self._adapter, strength)

    def restore(self, model: Family, folder: Path) -> None:
        saved = self.read(folder, model)
        self.inject(model, seed=0)
        for name in self._modules:
            factors, tensors = self.factors(name), saved.get(name, {})
            misfit = sorted(factors.keys() ^ tensors.keys()) or [
                n for n in factors if factors[n].shape != tensors[n].shape
            ]
            if misfit:
                self.detach(model)
                raise BadDataError(
                    f"{folder / self.files[0]} does not fit: {misfit[0]} in {name} differs ({len(misfit)} in all).",
                    "Use the base and the settings that the concept names.",
                    code="concept.unfit",
                )
            with torch.no_grad():
                for n, p in factors.items():
                    p.copy_(tensors[n])

    def inject(self, model: Family, seed: int) -> None:
        """Put a fresh adapter in, in float32 and as peft starts it; nothing of it is trainable yet."""
        sites = self.sites(model)
        taken = {a for s in sites.values() for m in s.module.modules() if _is_adapted(m) for a in _adapters(m)}
        self._adapter = next(a for a in ("default", *(f"adapter{i}" for i in range(1, 99))) if a not in taken)
        for name, site in sites.items():
            self.place(name, site, seed)
            self._modules[name] = site.module
            for _, layer in self.layers(site.module):
                layer.set_adapter(_adapters(layer))  # earlier concepts' adapters stay switched on
            site.module.requires_grad_(False)
            for p in self.factors(name).values():
                p.data = p.data.float()
        model.remember_embeddings(False)

    def place(self, name: str, site: LinearSite, seed: int) -> None:
        """Put fresh layers into one component."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, self.name, name))
            inject_adapter_in_model(self.peft_config(site), site.module, self._adapter)
        del site.module.peft_config  # this method keeps the books itself

    def sites(self, model: Family) -> dict[str, LinearSite]:
        """The components that are going to carry the adapter; UsageError if the settings leave none."""
        model.sites.require(self.title, model.title, self.needs)
        without = {} if self.config.train_text_encoder else model.sites.text_encoders
        for name, site in model.sites.linears.items():
            if site.module is model.sites.denoiser:  # a text encoder may lack a group, the denoiser may not
                site.require(self.config.targets, f"the {name} of {model.title}")
        sites = {n: s for n, s in model.sites.linears.items() if n not in without and self.names(s)}
        if not sites:
            raise UsageError(
                f"No layer of this base is in {', '.join(self.config.targets)} and has {self.config.blocks!r} in its "
                "name.",
                "Set blocks to another expression, such as attn2, mid_block or up_blocks, or leave it out.",
                code="blocks.none_match",
                field="settings.blocks",
            )
        return sites

    def coverage(self, model: Family) -> Mapping[str, Coverage]:
        adapted = self.sites(model)
        return {n: s.coverage(self.names(s) if n in adapted else ()) for n, s in model.sites.linears.items()}

    def _require_text_encoder(self, model: Family) -> None:
        """UsageError if none would carry an adapter, though it is to be trained."""
        if self.sites(model).keys() & model.sites.text_encoders.keys():
            return
        where = ", ".join(self.config.targets)
        if self.config.blocks is not None:
            where += f" with {self.config.blocks!r} in its name"
        raise UsageError(
            f"train_text_encoder=true trains nothing: no text encoder of {model.title} has a layer for adapters in "
            f"{where}.",
            "Set other targets or blocks, or leave train_text_encoder out.",
            code="text_encoder.no_layer",
            field="settings.train_text_encoder",
        )

    def names(self, site: LinearSite) -> list[str]:
        """Full names of the layers of a component that carry the adapter."""
        return site.layers([g for g in self.config.targets if g in site.groups], self.config.blocks)

    def target_modules(self, site: LinearSite) -> list[str]:
        """How peft names the layers: by suffixes where that is enough."""
        groups = [g for g in self.config.targets if g in site.groups]
        if self.names(site) != site.layers(groups) or not site.suffices(groups):
            return self.names(site)
        return sorted(site.targets(groups))

    def layers(self, module: nn.Module) -> Iterator[tuple[str, Any]]:
        """The layers of this kind in a component, of other concepts too."""
        for name, layer in module.named_modules():
            if isinstance(layer, self.layer):
                yield name, layer

    def factors(self, name: str) -> dict[str, nn.Parameter]:
        """The adapter's tensors in a component by peft's names, such as `....to_q.lora_A.weight`."""
        tail = f".{self._adapter}"
        return {
            n.replace(tail, ""): p
            for n, p in self._modules[name].named_parameters()
            if f".{self.prefix}" in n and (f"{tail}." in n or n.endswith(tail))
        }

    def learned(self) -> Mapping[str, Tensor]:
        return {f"{name}.{n}": p for name in self._modules for n, p in self.factors(name).items()}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What of a component goes into a file."""
        return {n: p.detach().cpu().contiguous() for n, p in self.factors(name).items()}


class RankedAdapter(Adapter):
    """An adapter whose layers have a rank."""

    config: RankedConfig

    @property
    def alpha(self) -> float:
        """The numerator of the update's scale where the rank is the common one."""
        return self.config.alpha or float(self.config.rank)

    def usual_rank(self, layer: Any) -> int:
        """The rank of a layer that `ranks` does not name."""
        return self.config.rank

    def rank_of(self, name: str, site: LinearSite) -> int:
        """The rank of a component's layer."""
        named = (rank for pattern, rank in self.config.ranks.items() if re.search(pattern, name))
        return next(named, None) or self.usual_rank(site.module.get_submodule(name))

    def patterns(self, site: LinearSite) -> dict[str, Any]:
        """peft's rank_pattern and alpha_pattern: the layers of another rank, by full name; empty if there are none."""
        ranks = {f"^{n}": self.rank_of(n, site) for n in self.names(site)}
        others = {n: rank for n, rank in ranks.items() if rank != self.config.rank}
        if not others:
            return {}
        # No alpha means a scale of 1 everywhere.
        return {"rank_pattern": others, "alpha_pattern": dict(others) if self.config.alpha is None else {}}

    def sites(self, model: Family) -> dict[str, LinearSite]:
        sites = super().sites(model)
        names = [n for site in sites.values() for n in self.names(site)]
        for pattern in self.config.ranks:
            if not any(re.search(pattern, n) for n in names):
                raise UsageError(
                    f"ranks names {pattern!r}, which no layer here has in its name, such as {names[0]}.",
                    code="ranks.none_match",
                    field="settings.ranks",
                )
        return sites


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return pattern


def _is_adapted(module: nn.Module) -> bool:
    return isinstance(module, BaseTunerLayer)


def _adapters(layer: Any) -> list[str]:
    """Names of the adapters that a layer carries, the earliest first."""
    return list(dict.fromkeys(key for attribute in layer.adapter_layer_names for key in getattr(layer, attribute)))
