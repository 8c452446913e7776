"""Optimisers and learning-rate schedules by name."""

# the optional optimisers are not annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import math
from typing import Any

import torch

from booth.core.errors import NotAvailableError, UsageError
from booth.core.method import ParameterGroup

OPTIMIZERS = ("adamw", "adamw8bit", "prodigy")
SCHEDULES = ("constant", "cosine", "linear")


def make_optimizer(name: str, groups: list[ParameterGroup]) -> torch.optim.Optimizer:
    """An optimiser over the groups, each with its own learning rate and weight decay."""
    params: list[dict[str, Any]] = [
        {"params": list(g.parameters.values()), "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups
    ]
    if name == "adamw":
        return torch.optim.AdamW(params, betas=(0.9, 0.999), eps=1e-8, fused=True)
    if name == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]
        except ImportError as error:
            raise NotAvailableError(
                'adamw8bit needs bitsandbytes: pip install "booth[gpu]", or use --set optimizer=adamw.'
            ) from error
        return AdamW8bit(params)
    if name == "prodigy":
        try:
            from prodigyopt import Prodigy  # type: ignore[import-untyped]
        except ImportError as error:
            raise NotAvailableError(
                'prodigy needs prodigyopt: pip install "booth[prodigy]", or use --set optimizer=adamw.'
            ) from error
        # Prodigy estimates the rate itself: lr is a factor and stays 1 (Mishchenko & Defazio, 2306.06101).
        return Prodigy([p | {"lr": 1.0} for p in params], safeguard_warmup=True, use_bias_correction=True)
    raise UsageError(f"There is no optimizer called {name!r}. There are: {', '.join(OPTIMIZERS)}.")


def schedule_factor(name: str, step: int, total: int, warmup: int) -> float:
    """What the peak learning rate is multiplied by at 0-based `step` of `total`."""
    if step < warmup:
        return (step + 1) / warmup
    if name == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if name == "linear":
        return 1 - progress
    raise UsageError(f"There is no schedule called {name!r}. There are: {', '.join(SCHEDULES)}.")
