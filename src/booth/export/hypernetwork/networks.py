"""A hypernetwork on tensors alone, and AUTOMATIC1111's `.pt` as plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from booth.core.errors import BadDataError
from booth.core.safe_file import read_tensors, shown

Net = dict[str, Tensor]  # "linear.0.weight" (out, in), "linear.0.bias" (out,), ..., in the order of use
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x, "relu": F.relu, "leakyrelu": F.leaky_relu, "elu": F.elu, "swish": F.hardswish,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softsign": F.softsign, "mish": F.mish,
}  # fmt: skip
LAYER = re.compile(r"linear\.\d{1,3}\.(weight|bias)")


@dataclass(frozen=True)
class Hypernetwork:
    """Two small residual networks a context width: x + net(x), before to_k and before to_v of every attention."""

    nets: dict[int, tuple[Net, Net]]  # context width: (k, v)
    layer_structure: tuple[float, ...] = (1, 2, 1)  # widths of the layers as multiples of the context width
    activation: str = "linear"
    activate_output: bool = False
    layer_norm: bool = False


def read_hypernetwork(file: Path) -> Hypernetwork:
    """Read a concept's hypernetwork: keys WIDTH.k.linear.0.weight, settings as JSON under `hypernetwork` in the header.

    Raises BadDataError for another content.
    """
    tensors, metadata = read_tensors(file)
    nets: dict[int, tuple[Net, Net]] = {}
    for key, tensor in tensors.items():
        width, side, name = [*key.split(".", 2), "", ""][:3]
        if not width.isdigit() or side not in {"k", "v"} or not LAYER.fullmatch(name):
            raise BadDataError(
                f"{file} holds {shown(key)}, which no hypernetwork of booth has.",
                code="hypernetwork.unknown_key",
                field="file",
            )
        nets.setdefault(int(width), ({}, {}))["kv".index(side)][name] = tensor
    try:
        fields: Any = json.loads(metadata.get("hypernetwork", "{}"))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadDataError(
            f"{file} has settings that cannot be read.",
            "Get the file anew.",
            code="hypernetwork.unreadable",
            field="file",
        )
    return from_fields({w: (_in_order(k), _in_order(v)) for w, (k, v) in nets.items()}, fields)


def from_fields(nets: dict[int, tuple[Net, Net]], fields: Mapping[int | str, Any]) -> Hypernetwork:
    """A hypernetwork from its networks and AUTOMATIC1111's fields, with that program's defaults for absent ones.

    Layers are numbered as it numbers them without dropout, whose places a file may count. Raises BadDataError for an
    unknown activation, or for a structure that is no list of numbers.
    """
    activation, structure = fields.get("activation_func") or "linear", fields.get("layer_structure") or (1, 2, 1)
    if not isinstance(activation, str) or activation not in FUNCTIONS:
        told = shown(str(activation))
        raise BadDataError(
            f"This hypernetwork has the activation {told}; there are {', '.join(FUNCTIONS)}.",
            code="hypernetwork.activation",
            field="file",
        )
    if not isinstance(structure, list | tuple) or not all(isinstance(width, int | float) for width in structure):
        raise BadDataError(
            f"This hypernetwork has the layers {shown(str(structure))}.",
            "Get the file anew.",
            code="hypernetwork.structure",
            field="file",
        )
    found = Hypernetwork(
        nets,
        tuple(structure),
        activation,
        bool(fields.get("activate_output", True)),
        bool(fields.get("is_layer_norm", False)),
    )
    found = replace(found, nets={w: (numbered(found, k), numbered(found, v)) for w, (k, v) in nets.items()})
    for width, pair in found.nets.items():
        for net in pair:
            _require_structure(width, found.layer_structure, net)
    return found


def _require_structure(width: int, structure: tuple[float, ...], net: Net) -> None:
    """BadDataError unless the linear layers have the sides that the structure tells, which others build them by."""
    told = [width * part for part in structure]
    sides = [tuple(t.shape) for t in net.values() if t.ndim == 2]
    if sides != [(out, inside) for inside, out in pairwise(told)]:
        raise BadDataError(
            f"This hypernetwork says that its layers are {list(structure)} times {width} wide, and they are "
            f"{' then '.join('x'.join(map(str, side)) for side in sides) or 'none'}.",
            "Get the file anew.",
            code="hypernetwork.structure",
            field="file",
        )


def numbered(hypernetwork: Hypernetwork, net: Net) -> Net:
    """The tensors under the numbers that AUTOMATIC1111 gives: activations take one, layer norms too."""
    layers = sorted({name.rpartition(".")[0] for name in net}, key=lambda name: int(name.split(".")[1]))
    lacking = [f"{name}.{kind}" for name in layers for kind in ("weight", "bias") if f"{name}.{kind}" not in net]
    if lacking:
        raise BadDataError(
            f"This hypernetwork lacks {shown(lacking[0])}.",
            "Get the file anew.",
            code="hypernetwork.incomplete",
            field="file",
        )
    linears = [name for name in layers if net[f"{name}.weight"].ndim == 2]
    place, result = 0, Net()
    for name in layers:
        for kind in ("weight", "bias"):
            result[f"linear.{place}.{kind}"] = net[f"{name}.{kind}"]
        active = name in linears and (name != linears[-1] or hypernetwork.activate_output)
        place += 1 + (active and hypernetwork.activation != "linear")
    return result


def _in_order(net: Net) -> Net:
    """By the number of the layer, weight before bias: a safetensors file keeps no order."""

    def place(name: str) -> tuple[int, bool]:
        return int(name.split(".")[1]), name.endswith("bias")

    return {name: net[name] for name in sorted(net, key=place)}


def apply(hypernetwork: Hypernetwork, net: Net, x: Tensor) -> Tensor:
    """x + net(x) for x (..., width), as AUTOMATIC1111 defines it: linear, activation, layer norm, layer by layer."""
    activate = FUNCTIONS[hypernetwork.activation]
    layers = sorted({name.rpartition(".")[0] for name in net}, key=lambda name: int(name.split(".")[1]))
    linears = [name for name in layers if net[f"{name}.weight"].ndim == 2]
    y = x
    for name in layers:
        weight, bias = net[f"{name}.weight"].to(x), net[f"{name}.bias"].to(x)
        if weight.ndim == 1:
            y = F.layer_norm(y, weight.shape, weight, bias)
            continue
        y = F.linear(y, weight, bias)
        if name != linears[-1] or hypernetwork.activate_output:
            y = activate(y)
    return x + y
