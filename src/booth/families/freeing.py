"""Parts of a base that are let go and come back: their weights are dropped, and read again from the base's files."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

Mark = list[tuple[int, int]]
BESIDE = ("state", "quant_state")  # attributes of bitsandbytes' layers that hold tensors


def mark(module: nn.Module) -> Mark:
    """What its tensors are now: another tensor, one more, or a change in place makes another mark."""
    return [(id(p), p._version) for p in module.parameters()]


def over_the_same_weights(module: nn.Module) -> nn.Module:
    """A module of the same making that holds the very tensors of this one."""
    same: dict[int, object] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    for layer in module.modules():  # bitsandbytes keeps what belongs to its weights beside them
        same |= {id(layer.__dict__[name]): layer.__dict__[name] for name in BESIDE if name in layer.__dict__}
    return copy.deepcopy(module, same)


def let_go(module: nn.Module) -> None:
    """Drop the weights of a frozen module. It keeps its shape, and computing with it fails."""
    for layer, name, weight in _weights(module):
        layer._parameters[name] = nn.Parameter(
            torch.empty(weight.shape, dtype=weight.dtype, device="meta"), requires_grad=False
        )
        if hasattr(layer, "state"):
            layer.state = type(layer.state)()  # bitsandbytes' 8-bit layers hold theirs twice


def take_back(module: nn.Module, fresh: nn.Module) -> None:
    """Give a module the weights of another one of the same making."""
    for layer, other in zip(module.modules(), fresh.modules(), strict=True):
        layer._parameters.update(other._parameters)
        for name in BESIDE:
            if hasattr(other, name):
                setattr(layer, name, getattr(other, name))
    module.requires_grad_(False)


def _weights(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for layer in module.modules():
        for name, weight in list(layer._parameters.items()):
            if weight is not None:
                yield layer, name, weight
