"""A frozen linear layer with its low-rank update as one operation, where peft's layer makes many small ones."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

from booth.core.packing import gradient_of_input, product


class LowRankProduct(torch.autograd.Function):
    """y = x W^T + b + s (x A^T) B^T, of which x, A and B receive the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Linear, down: Tensor, up: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (N, in)
        hidden = rows @ down.t()  # (N, r)
        output = product(layer, rows).addmm_(hidden, up.t(), alpha=scale)  # (N, out)
        ctx.save_for_backward(rows, hidden, down, up)
        ctx.layer, ctx.scale, ctx.shape = layer, scale, x.shape
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, hidden, down, up = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, up.shape[0])  # (N, out)
        before = (gradient @ up).mul_(ctx.scale)  # (N, r)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradient_of_input(ctx.layer, gradient).addmm_(before, down).view(ctx.shape)
        return of_x, None, before.t() @ rows, (gradient.t() @ hidden).mul_(ctx.scale), None


def take_together(layer: Any, adapter: str) -> None:
    """Have a layer of peft's compute with its one adapter in one operation while that is trained.

    Drawing, several adapters, dropout, variants and mixed precision are left to peft, to the bit.
    """
    if type(layer) is not Linear or type(layer.base_layer) is not nn.Linear:
        return

    def forward(x: Tensor, *args: Any, **options: Any) -> Tensor:
        if args or options or not _is_plain(layer, adapter, x):
            return Linear.forward(layer, x, *args, **options)
        down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        return LowRankProduct.apply(x, layer.base_layer, down, up, layer.scaling[adapter])

    layer.forward = forward


def leave_apart(layer: nn.Module) -> None:
    """Let a layer compute as peft's do."""
    vars(layer).pop("forward", None)


def _is_plain(layer: Any, adapter: str, x: Tensor) -> bool:
    down, base = layer.lora_A[adapter].weight, layer.base_layer
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and down.requires_grad
        and not base.weight.requires_grad
        and x.dtype == base.weight.dtype == down.dtype
        and not torch.is_autocast_enabled(x.device.type)
        and layer.active_adapters == [adapter]
        and not layer.disable_adapters
        and not layer.merged
        and adapter not in layer.lora_variant
        and type(layer.lora_dropout[adapter]) is nn.Identity
    )
