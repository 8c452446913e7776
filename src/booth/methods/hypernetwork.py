"""HyperNetwork as AUTOMATIC1111 trains it: small residual networks that change what keys and values are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.file_names import HYPERNETWORK as FILE
from booth.core.method import Method, MethodConfig, Order, ParameterGroup, Subject
from booth.core.rng import derived_seed
from booth.core.tensor_files import write_tensors
from booth.methods.dropout import GradientDropout

HEADER = "hypernetwork"  # the header's entry, a JSON object with A1111's names

# By A1111's names; its "swish" is Hardswish.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "swish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softsign": nn.Softsign,
    "mish": nn.Mish,
}
Activation = Literal["linear", "relu", "leakyrelu", "elu", "swish", "tanh", "sigmoid", "softsign", "mish"]
Initialisation = Literal["identity", "normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"]
WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": nn.init.kaiming_uniform_,
    "normal": lambda weight: nn.init.normal_(weight, std=0.01),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
}


class HyperNetworkConfig(MethodConfig):
    """Settings of a hypernetwork.

    Steps and rates are ours: A1111's own, 1e-5 for up to 100,000 steps, belong to a start that is no identity.
    """

    steps: int = Field(2000, ge=1, description="optimiser steps")
    learning_rate: float = Field(5e-5, gt=0, description="peak learning rate of the networks")
    widths: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="context widths to change: on SD 1.x 768 (text), 320, 640, 1280, on SDXL 2048 (text), 640, 1280; "
        "none = all",
    )
    layer_structure: tuple[float, ...] = Field(
        (1, 2, 1), min_length=2, description="widths of the layers as multiples of the context's; first and last are 1"
    )
    activation: Activation = Field("linear", description=f"after each layer but the last: {', '.join(ACTIVATIONS)}")
    activate_output: bool = Field(False, description="the activation after the last layer too")
    layer_norm: bool = Field(False, description="layer normalisation after each layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each layer but the last, while training only")
    initialisation: Initialisation = Field(
        "identity",
        validate_default=True,
        description=f"{', '.join(WEIGHTS)}; identity starts as the base, with a last layer of zeros",
    )

    @field_validator("layer_structure")
    @classmethod
    def _begins_and_ends_in_one(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] != 1 or value[-1] != 1 or min(value) <= 0:
            raise ValueError("must begin and end in 1 and hold positive numbers, as 1,2,1 does")
        return value

    @field_validator("initialisation")
    @classmethod
    def _can_start_as_identity(cls, value: str, info: ValidationInfo) -> str:
        known = info.data
        if value == "identity" and known.get("activate_output") and not known.get("layer_norm"):
            # sigmoid(0) is not 0, and relu passes no gradient at 0.
            raise ValueError("needs activate_output off or layer_norm on; else choose another, such as kaiming_normal")
        return value


class ContextNetwork(nn.Module):
    """c -> N(c), (B, L, width) each, which the caller adds to c. Its tensors have A1111's names."""

    def __init__(self, width: int, config: HyperNetworkConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [int(width * multiple) for multiple in config.layer_structure]
        for i, (size, following) in enumerate(pairwise(sizes), start=2):
            last = i == len(sizes)
            layers.append(nn.Linear(size, following))
            if config.activation != "linear" and (config.activate_output or not last):
                layers.append(ACTIVATIONS[config.activation]())
            if config.layer_norm:
                layers.append(nn.LayerNorm(following))
            if config.dropout and not last:
                layers.append(GradientDropout(config.dropout))
        self.linear = nn.Sequential(*layers)
        self._initialise(config.initialisation)

    def _initialise(self, how: str) -> None:
        """Biases zero; A1111 draws the scales of layer norms from N(0, 0.01^2) too, whatever the initialisation."""
        learned: list[Any] = [m for m in self.linear if isinstance(m, nn.Linear | nn.LayerNorm)]
        for layer in learned:
            nn.init.zeros_(layer.bias)
            if isinstance(layer, nn.Linear):
                WEIGHTS[how](layer.weight)
            elif how != "identity":
                WEIGHTS["normal"](layer.weight)
        if how == "identity":
            nn.init.zeros_(learned[-1].weight)

    def forward(self, context: Tensor) -> Tensor:
        return self.linear(context)


class HyperNetwork(Method):
    """For each context width two networks: k = to_k(c + s N_k(c)), v = to_v(c + s N_v(c)), in every attention.

    The context is the prompt in cross-attention and the features themselves in self-attention; which networks are
    used depends on its width alone. The strength s is 1 while training. Several concepts are chained, as in A1111.

    It is no hypernetwork in the sense of Ha et al. (1609.09106), because no network makes weights here, and it is
    not HyperDreamBooth (2307.06949), which predicts a LoRA from one photo.
    """

    name = "hypernetwork"
    title = "HyperNetwork"
    trains = "small residual networks before the keys and the values of every attention, two for each context width"
    needs = ("attention",)
    order = Order.INPUTS
    files = (FILE,)
    Config = HyperNetworkConfig
    tiny = {"steps": 400, "learning_rate": 4e-4, "batch_size": 4}

    config: HyperNetworkConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._networks: nn.ModuleDict | None = None  # by width, then "k" and "v"
        self._place = ""  # their name in the denoiser
        self._hooks: list[RemovableHandle] = []
        self._strength = 1.0

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        parameters = dict(self._insert(model, seed).named_parameters())
        return [ParameterGroup("networks", parameters, self.config.learning_rate, self.config.weight_decay)]

    def detach(self, model: Family) -> None:
        for hook in self._hooks:
            hook.remove()
        if self._networks is not None:
            delattr(model.sites.denoiser, self._place)
        self._networks, self._hooks, self._strength = None, [], 1.0

    def set_strength(self, strength: float) -> None:
        self._strength = strength

    def learned(self) -> Mapping[str, Tensor]:
        return {} if self._networks is None else dict(self._networks.named_parameters())

    def write(self, model: Family, folder: Path) -> None:
        """`768.k.linear.0.weight`: A1111's tensors under width and part, and its other fields in the header."""
        assert self._networks is not None
        tensors = {name: p.detach().cpu().contiguous() for name, p in self._networks.named_parameters()}
        write_tensors(tensors, folder / FILE, {"format": "pt", HEADER: json.dumps(self._header())})

    def restore(self, model: Family, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise BadDataError(
                f"{folder / FILE} is missing: this folder holds no HyperNetwork.",
                "Train it again.",
                code="concept.weights_missing",
            )
        with safe_open(folder / FILE, "pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        live = dict(self._insert(model, seed=0).named_parameters())
        differing = [key for key, value in self._header().items() if header.get(key) != value]
        differing += sorted(live.keys() ^ saved.keys()) or [n for n in live if live[n].shape != saved[n].shape]
        if differing:
            self.detach(model)
            raise BadDataError(
                f"{folder / FILE} does not fit: {differing[0]} differs.",
                "Use the base and the settings that the concept names.",
                code="concept.unfit",
            )
        for name, p in live.items():
            p.requires_grad_(False).copy_(saved[name])

    def _header(self) -> dict[str, Any]:
        """How the networks are built, in A1111's words; it lists a dropout for each entry of the structure."""
        c = self.config
        hidden = len(c.layer_structure) - 2
        return {
            "name": self.subject.token,
            "step": c.steps,
            "layer_structure": list(c.layer_structure),
            "activation_func": c.activation,
            "activate_output": c.activate_output,
            "is_layer_norm": c.layer_norm,
            "weight_initialization": c.initialisation,
            "use_dropout": c.dropout > 0,
            "dropout_structure": [0.0, *[c.dropout] * hidden, 0.0],
            "last_layer_dropout": c.dropout > 0,  # its word for the last of the hidden layers
        }

    def _insert(self, model: Family, seed: int) -> nn.ModuleDict:
        """Make the networks and put them before the layers that make keys and values."""
        model.sites.require(self.title, model.title, self.needs)
        denoiser, widths = model.sites.denoiser, sorted({a.width for a in model.sites.attention})
        assert denoiser is not None
        unknown = [w for w in self.config.widths or () if w not in widths]
        if unknown:
            raise UsageError(
                f"No attention here has a context {unknown[0]} wide; there are {widths}.",
                "Set widths to some.",
                code="widths.unknown",
                field="settings.widths",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, self.name))
            networks = nn.ModuleDict(
                {
                    str(width): nn.ModuleDict({part: ContextNetwork(width, self.config) for part in "kv"})
                    for width in self.config.widths or widths
                }
            )
        networks.to(next(denoiser.parameters()).device)
        self._networks = networks
        self._place = next(n for n in (f"hypernetwork{i}" for i in range(99)) if not hasattr(denoiser, n))
        denoiser.add_module(self._place, networks)
        for a in model.sites.attention:
            for part, name in (("k", a.key), ("v", a.value)) if str(a.width) in networks else ():
                pair: Any = networks[str(a.width)]
                self._hooks.append(denoiser.get_submodule(name).register_forward_pre_hook(self._before(pair[part])))
        return networks

    def _before(self, network: nn.Module) -> Callable[[nn.Module, Any], Any]:
        def change(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            (context,) = inputs  # (B, L, width)
            return (context + self._strength * network(context.float()).to(context.dtype),)

        return change
