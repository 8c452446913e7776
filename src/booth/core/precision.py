"""The precisions that a run computes in, and that a base is held in."""

from __future__ import annotations

import torch

from booth.core.errors import UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(name: str | None, device: str) -> str:
    """The precision asked for or, if none is: fp32 off the GPU, on it bf16, or fp16 where the GPU has no bf16.

    UsageError for fp16 off the GPU.
    """
    on_gpu = device.startswith("cuda")
    if name == "fp16" and not on_gpu:
        raise UsageError(
            f"fp16 needs a CUDA device and this run is on {device}.",
            "Use `precision=fp32` or bf16.",
            code="precision.without_gpu",
            field="precision",
        )
    if name is not None and name not in DTYPES:
        raise UsageError(
            f"There is no precision {name!r}.",
            f"There are: {', '.join(DTYPES)}.",
            code="precision.unknown",
            field="precision",
        )
    if name is None:
        name = "fp32" if not on_gpu else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return name


def allow_tf32(device: str) -> None:
    """Let a GPU multiply float32 matrices with 10 bits of mantissa, 8 times as fast; sums stay in float32."""
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
