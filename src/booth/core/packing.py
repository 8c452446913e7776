"""Frozen layers of a small base as a CPU multiplies them fastest: their weights laid out once, not at every call.

A layer of a small base has few rows, so that laying out its weights for oneDNN takes a good part of each product.
"""

# torch's operators for oneDNN have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALONE: tuple[Any, ...] = ("none", [], "")  # nothing is fused into the product
CPU = torch.device("cpu")


class Product(torch.autograd.Function):
    """What a packed layer makes of x; x alone receives the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Packed) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.product(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.layer.gradient(gradients[0], ctx.shape), None


class Packed:
    """Stands in for the `forward` of one frozen layer. Several threads may call it at once."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self._laid_out: dict[Any, Tensor] = {}  # weights by direction and by the shape that they are laid out for

    def __call__(self, input: Tensor) -> Tensor:  # named as torch names it
        weight, x = self.layer.weight, input
        computed_in = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if torch.compiler.is_compiling() or weight.requires_grad or computed_in != weight.dtype or x.device != CPU:
            return type(self.layer).forward(self.layer, x)
        x = x.to(computed_in)
        if torch.is_grad_enabled() and x.requires_grad:
            return cast(Tensor, Product.apply(x, self))
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """The layer's output."""
        raise NotImplementedError

    def gradient(self, of_output: Tensor, shape: torch.Size) -> Tensor:
        """The gradient of an input of that shape."""
        raise NotImplementedError

    def _weights(self, backward: bool, shape: Any, lay_out: Callable[[], Tensor]) -> Tensor:
        key = backward, shape
        if key not in self._laid_out:
            with torch.no_grad():
                self._laid_out[key] = lay_out()
        return self._laid_out[key]


class PackedLinear(Packed):
    """y = x W^T + b."""

    def product(self, x: Tensor) -> Tensor:
        return self._times(x, False, self.layer.bias)

    def gradient(self, of_output: Tensor, shape: torch.Size) -> Tensor:
        return self._times(of_output.contiguous(), True, None)

    def _times(self, x: Tensor, transposed: bool, bias: Tensor | None) -> Tensor:
        rows = x.numel() // x.shape[-1]

        def lay_out() -> Tensor:
            weight = self.layer.weight.detach()
            return torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous() if transposed else weight, rows)

        return torch.ops.mkldnn._linear_pointwise(x, self._weights(transposed, rows, lay_out), bias, *ALONE)


class PackedConvolution(Packed):
    """A convolution with its channels last; its gradient, unless it strides, is one with the kernel turned round."""

    def product(self, x: Tensor) -> Tensor:
        return self._convolved(x, False, list(self.layer.padding), self.layer.bias)

    def gradient(self, of_output: Tensor, shape: torch.Size) -> Tensor:
        layer = self.layer
        if set(layer.stride) != {1}:
            of, stand_in = of_output, of_output.new_empty(1).expand(shape)
            how = (None, layer.stride, layer.padding, layer.dilation, False, (0, 0), 1, (True, False, False))
            return torch.ops.aten.convolution_backward(of, stand_in, layer.weight, *how)[0]
        turned = [side - 1 - padding for side, padding in zip(layer.kernel_size, layer.padding, strict=True)]
        return self._convolved(of_output, True, turned, None)

    def _convolved(self, x: Tensor, turned: bool, padding: list[int], bias: Tensor | None) -> Tensor:
        stride, dilation = list(self.layer.stride), [1, 1]

        def lay_out() -> Tensor:
            weight = self.layer.weight.detach()
            weight = weight.flip(2, 3).transpose(0, 1) if turned else weight
            weight = weight.contiguous(memory_format=torch.channels_last)
            pack = torch.ops.mkldnn._reorder_convolution_weight
            return pack(weight, padding, stride, dilation, 1, list(x.shape))

        weights = self._weights(turned, x.shape, lay_out)
        return torch.ops.mkldnn._convolution_pointwise(x, weights, bias, padding, stride, dilation, 1, *ALONE)


class Remembering:
    """Stands in for the `forward` of a layer that is given the very same tensor at every step of a picture."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._compute = compute
        self._last = threading.local()  # pictures are drawn side by side

    def __call__(self, input: Tensor) -> Tensor:  # named as torch names it
        if torch.is_grad_enabled():
            return self._compute(input)
        given, output = getattr(self._last, "pair", (None, None))
        if given is not input or output is None:
            output = self._compute(input)
            self._last.pair = input, output
        return output


def product(layer: nn.Linear, x: Tensor) -> Tensor:
    """x W^T + b of a frozen layer, in memory of its own, without a graph; packed where the layer is."""
    stands_in = vars(layer).get("forward")
    if isinstance(stands_in, PackedLinear):
        return stands_in.product(x)
    return F.linear(x, layer.weight, layer.bias)


def gradient_of_input(layer: nn.Linear, of_output: Tensor) -> Tensor:
    """What `product` hands back to x."""
    stands_in = vars(layer).get("forward")
    if isinstance(stands_in, PackedLinear):
        return stands_in.gradient(of_output, of_output.shape)
    return of_output @ layer.weight


def can_pack(layer: nn.Module) -> bool:
    """Whether a layer is frozen, plain, on the CPU and in a precision that oneDNN multiplies there."""
    if type(layer) is nn.Conv2d:
        plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
        if not plain or isinstance(layer.padding, str):
            return False
    elif type(layer) is not nn.Linear:
        return False
    weight = layer.weight
    known = weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return known and weight.device == CPU and not weight.requires_grad and "forward" not in vars(layer)


def pack(networks: Iterable[nn.Module]) -> list[nn.Module]:
    """Have the frozen layers of networks compute with packed weights; which ones do now, for `unpack`.

    While they do, nobody may change their weights.
    """
    if not torch.backends.mkldnn.is_available():
        return []
    found: list[Any] = [layer for network in networks for layer in network.modules() if can_pack(layer)]
    for layer in found:
        layer.forward = PackedLinear(layer) if isinstance(layer, nn.Linear) else PackedConvolution(layer)
    return found


def unpack(layers: Iterable[nn.Module]) -> None:
    """Have layers compute as they did."""
    for layer in layers:
        vars(layer).pop("forward", None)


@contextmanager
def packed(networks: Iterable[nn.Module], fixed: Iterable[nn.Module] = ()) -> Generator[None]:
    """Within this context networks are drawn with packed; the layers `fixed` are given the same at every step."""
    layers = pack(networks)
    remembering: list[tuple[Any, Any]] = []
    for layer in fixed:
        if type(layer) is nn.Linear:
            before = vars(layer).get("forward")
            remembering.append((layer, before))
            cast(Any, layer).forward = Remembering(layer.forward)
    try:
        yield
    finally:
        for layer, before in remembering:
            vars(layer).pop("forward")
            if before is not None:
                layer.forward = before
        unpack(layers)
