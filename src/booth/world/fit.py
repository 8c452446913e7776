"""Train a small network for a number of steps, resumably: what the autoencoder, text encoder and judges share.

The denoiser is not trained here: it goes through the one loop in `booth.train`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SAVE_EVERY = 120.0  # seconds
WARMUP = 0.01  # share of the budget
PLATEAU = 0.6  # share of the budget after which the rate descends


def rate_at(progress: float) -> float:
    """Factor on the peak learning rate: warm-up, plateau, then a cosine to zero; `progress` in [0, 1].

    The plateau lets a budget be raised, and the run go on, at any moment before the descent begins.
    """
    if progress < WARMUP:
        return (progress + 1e-3) / (WARMUP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, (progress - PLATEAU) / (1 - PLATEAU)))))


def autocast_dtype(device: str) -> torch.dtype | None:
    """bfloat16 where it is faster than float32: on a GPU, and on a CPU with the instructions for it."""
    if device != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None


def write_state(file: Path, tensors: dict[str, Tensor], values: dict[str, object]) -> None:
    """Replace `file` by tensors and plain values (in the header) in one rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".tmp-{os.getpid()}")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"values": json.dumps(values)})
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, file)


def read_state(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote."""
    with safe_open(file, "pt") as handle:
        values = json.loads(handle.metadata()["values"])
    return load_file(file), values


def fit(
    name: str,
    module: nn.Module,
    loss: Callable[[int], tuple[Tensor, dict[str, float]]],
    *,
    steps: int,
    out: Path,
    learning_rate: float,
    weight_decay: float = 0.01,
    average: float = 0.999,
    device: str = "cpu",
) -> nn.Module:
    """Minimise `loss(step)`, step = 0 ... steps - 1, over what in `module` takes gradients; load its moving average.

    Progress is kept in `out/<name>.safetensors`; an interrupted run goes on, a finished one returns at once. A budget
    counts steps and not minutes, so that it buys the same on any machine, however busy.
    """
    file = out / f"{name}.safetensors"
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(named.values(), lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99))
    ema = {k: v.detach().clone() for k, v in module.state_dict().items()}
    step, spent = 0, 0.0
    if file.exists():
        tensors, values = read_state(file)
        step, spent = int(values["step"]), float(values["spent"])
        module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        ema = {k[4:]: v.to(device) for k, v in tensors.items() if k.startswith("ema.")}
        state = {
            i: {"step": torch.tensor(float(step)), **{m: tensors[f"{m}.{n}"] for m in ("exp_avg", "exp_avg_sq")}}
            for i, n in enumerate(named)
        }
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    began = saved = reported = time.monotonic()
    dtype = autocast_dtype(device)
    module.train()
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate_at(step / steps)
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            value, log = loss(step)
        value.backward()
        nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        decay = min(average, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    ema[key].lerp_(tensor, 1 - decay)
                else:
                    ema[key].copy_(tensor)
        now = time.monotonic()
        spent, began = spent + now - began, now
        if now - reported > 20:
            numbers = "  ".join(f"{k} {v:.4g}" for k, v in log.items())
            print(f"{name}: step {step}/{steps}  {spent / 60:.1f} min  {numbers}", file=sys.stderr, flush=True)
            reported = now
        if now - saved > SAVE_EVERY or step == steps:
            tensors = {f"model.{k}": v.detach() for k, v in module.state_dict().items()}
            tensors |= {f"ema.{k}": v for k, v in ema.items()}
            for n, p in named.items():
                tensors |= {f"{m}.{n}": optimizer.state[p][m] for m in ("exp_avg", "exp_avg_sq")}
            write_state(file, tensors, {"step": step, "spent": spent})
            saved = time.monotonic()
    module.load_state_dict(ema)
    return module.eval()
