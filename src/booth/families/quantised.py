"""Frozen linear layers in 8 or 4 bits, under what is trained (Dettmers et al., 2208.07339 and 2305.14314)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from booth.core.errors import NotAvailableError

BITSANDBYTES = 'pip install "booth[gpu]"'
# Tables are no layers; T5's output layers overflow in less than 16 bits; a language model's last layer is not used.
SPARED = {"shared", "wo", "lm_head", "relative_attention_bias"}


def can_be_quantised(name: str) -> bool:
    """Whether the linear layer, or the tensor, of that name in a denoiser or text encoder is one that is quantised.

    The small layers that embed timesteps, sizes and prompts are not.
    """
    return "embed" not in name and not SPARED & set(name.split("."))


def quantise(module: nn.Module, precision: str, device: str) -> nn.Module:
    """Put a module on a device with its linear layers in "int8", or in "nf4" with doubly quantised scales.

    A layer is quantised as it arrives on the device. Nothing can be trained in it, and gradients pass through it.
    NotAvailableError where the package or the device is missing.
    """
    try:
        from bitsandbytes import nn as bnb  # type: ignore[import-not-found]
    except ImportError as error:
        raise NotAvailableError(
            f"A base in {precision} needs bitsandbytes.",
            f"Run {BITSANDBYTES}, or use `base_precision=bf16`.",
            code="package.missing",
            field="base_precision",
        ) from error
    for name, layer in [(n, m) for n, m in module.named_modules() if type(m) is nn.Linear and can_be_quantised(n)]:
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, _packed(bnb, layer, precision))
    return module.to(device)


def require_gpu(precision: str, device: str) -> None:
    """NotAvailableError off the GPU: there bitsandbytes' layers may pass no gradient."""
    if not device.startswith("cuda"):
        raise NotAvailableError(
            f"A base in {precision} needs a CUDA device and this run is on {device}.",
            "Use `base_precision=bf16`.",
            code="base_precision.without_gpu",
            field="base_precision",
        )


def _packed(bnb: Any, layer: nn.Linear, precision: str) -> nn.Module:
    """The layer with weights that become packed when it is moved."""
    how: dict[str, Any] = {"has_fp16_weights": False}
    if precision == "nf4":
        how = {"compute_dtype": torch.bfloat16, "quant_type": "nf4", "compress_statistics": True}
    with torch.device("meta"):
        packed = (bnb.Linear4bit if precision == "nf4" else bnb.Linear8bitLt)(
            layer.in_features, layer.out_features, layer.bias is not None, **how
        )
    if precision == "nf4":
        packed.weight = bnb.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4", module=packed
        )
    else:
        packed.weight = bnb.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    packed.bias = layer.bias
    return packed
