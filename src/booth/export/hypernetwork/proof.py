"""How ComfyUI and AUTOMATIC1111 rebuild a hypernetwork from a `.pt`, each with its own defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from torch import Tensor, nn
from torch.nn import functional as F

RULES = "ComfyUI's and AUTOMATIC1111's reading of hypernetworks"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity, "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "swish": nn.Hardswish,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softsign": nn.Softsign, "mish": nn.Mish,
}  # fmt: skip


@dataclass
class Reading:
    """For each context width the networks of k and v, which map x to x + network(x) at strength 1."""

    nets: dict[int, tuple[nn.Module, nn.Module]] = field(default_factory=dict[int, tuple[nn.Module, nn.Module]])
    refused: str | None = None  # why the program does not load the file


def comfyui(values: Mapping[int | str, Any]) -> Reading:
    """Linear layers and norms are told apart by their weights' number of axes, in the order of the file."""
    activation, dropout = values.get("activation_func", "linear"), values.get("use_dropout", False)
    if activation not in ACTIVATIONS:
        return Reading(refused=f"activation {activation!r}")
    if dropout:
        return Reading(refused="dropout, which ComfyUI leaves on while drawing")
    output = values.get("activate_output", False)
    reading = Reading()
    for key, pair in values.items():
        if not _is_width(key):
            continue
        nets: list[nn.Module] = []
        for state in list(pair)[:2]:
            weights = [name for name in state if name.endswith(".weight")]
            layers: list[nn.Module] = []
            for place, name in enumerate(weights):
                layers.append(_layer(state, name))
                last = place == len(weights) - 1
                if state[name].ndim == 2 and (not last or output):
                    layers.append(ACTIVATIONS[activation]())
            nets.append(_Residual(layers))
        reading.nets[key] = (nets[0], nets[1])
    return reading


def automatic1111(values: Mapping[int | str, Any]) -> Reading:
    """The modules are built from layer_structure, and the file's tensors are loaded into them by their names."""
    structure = values.get("layer_structure", [1, 2, 1])
    activation = values.get("activation_func") or "linear"
    output, norm = values.get("activate_output", True), values.get("is_layer_norm", False)
    reading = Reading()
    for key, pair in values.items():
        if not _is_width(key):
            continue
        nets: list[nn.Module] = []
        for state in list(pair)[:2]:
            layers: list[nn.Module] = []
            for i in range(len(structure) - 1):
                layers.append(nn.Linear(int(key * structure[i]), int(key * structure[i + 1])))
                last = i == len(structure) - 2
                if activation != "linear" and (not last or output):
                    layers.append(ACTIVATIONS[activation]())
                if norm:
                    layers.append(nn.LayerNorm(int(key * structure[i + 1])))
            net = _Residual(layers)
            misfit = net.linear.load_state_dict({n.removeprefix("linear."): t for n, t in state.items()}, strict=False)
            if misfit.missing_keys or misfit.unexpected_keys:
                return Reading(refused=f"tensors {[*misfit.missing_keys, *misfit.unexpected_keys][:3]}")
            nets.append(net)
        reading.nets[key] = (nets[0], nets[1])
    return reading


class _Residual(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.linear = nn.Sequential(*layers).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x)


class _Given(nn.Module):
    """A linear layer or norm with the file's tensors."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return F.linear(x, self.weight, self.bias)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


def _layer(state: Mapping[str, Tensor], name: str) -> nn.Module:
    return _Given(state[name].float(), state.get(name.removesuffix("weight") + "bias"))


def _is_width(key: object) -> TypeGuard[int]:
    return isinstance(key, int) and not isinstance(key, bool)
