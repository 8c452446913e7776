"""A frozen linear layer whose rows go through several low-rank updates, each share of them through its own.

As S-LoRA and Punica serve many adapters on one base (Sheng et al., 2311.03285; Chen et al., 2310.18547), here with a
backward pass: the frozen product is made once over all rows, and those of the factors are batched over the adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from booth.core.packing import gradient_of_input, product


@dataclass(frozen=True)
class Factors:
    """A low-rank update: scale times up @ down."""

    down: nn.Parameter  # (r, in)
    up: nn.Parameter  # (out, r)
    scale: float


class RoutedProduct(torch.autograd.Function):
    """y_k = x_k W^T + b + s (x_k A_k^T) B_k^T for x (K, N, in), A (K, r, in), B (K, out, r), which take gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Linear, down: Tensor, up: Tensor, s: float) -> Tensor:
        hidden = torch.bmm(x, down.mT)  # (K, N, r)
        output = product(layer, x).baddbmm_(hidden, up.mT, alpha=s)  # (K, N, out)
        ctx.save_for_backward(x, hidden, down, up)
        ctx.layer, ctx.scale = layer, s
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, down, up = ctx.saved_tensors
        gradient = gradients[0]  # (K, N, out)
        before = torch.bmm(gradient, up).mul_(ctx.scale)  # (K, N, r)
        of_x = gradient_of_input(ctx.layer, gradient).baddbmm_(before, down) if ctx.needs_input_grad[0] else None
        return of_x, None, torch.bmm(before.mT, x), torch.bmm(gradient.mT, hidden).mul_(ctx.scale), None


class RoutedLinear(nn.Module):
    """Stands in for a linear layer; the batch's first K-th goes through the first of K updates, and so on."""

    def __init__(self, layer: nn.Linear, several: Sequence[Factors]) -> None:
        super().__init__()
        self.layer = layer
        self._several = tuple(several)  # of others, and not this module's own

    def forward(self, x: Tensor) -> Tensor:
        down = torch.stack([one.down for one in self._several])  # (K, r, in)
        up = torch.stack([one.up for one in self._several])  # (K, out, r)
        scale, rows = self._several[0].scale, x.reshape(len(self._several), -1, x.shape[-1])  # (K, N, in)
        if x.dtype == self.layer.weight.dtype == down.dtype and not torch.is_autocast_enabled(x.device.type):
            output = RoutedProduct.apply(rows, self.layer, down, up, scale)
        else:
            update = torch.bmm(torch.bmm(rows.to(down.dtype), down.mT), up.mT) * scale
            output = self.layer(rows) + update.to(x.dtype)
        return output.view(*x.shape[:-1], -1)


def route(denoiser: nn.Module, several: Sequence[Mapping[str, Factors]]) -> Callable[[], None]:
    """Put routed layers in place of those that are named; returned is what takes them out again."""
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for name in several[0]:
        parent, _, child = name.rpartition(".")
        holder, layer = denoiser.get_submodule(parent), denoiser.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(holder, child, RoutedLinear(layer, [one[name] for one in several]))
        replaced.append((holder, child, layer))

    def restore() -> None:
        for holder, child, layer in replaced:
            setattr(holder, child, layer)

    return restore
