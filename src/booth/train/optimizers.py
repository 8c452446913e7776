"""Optimisers and learning-rate schedules by name."""

# the optional optimisers are not annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch

from booth.core.errors import NotAvailableError, UsageError
from booth.core.method import ParameterGroup

OPTIMIZERS = ("adamw", "adamw8bit", "prodigy")
PACKAGES = {"adamw8bit": ("bitsandbytes", "gpu"), "prodigy": ("prodigyopt", "prodigy")}  # and booth's extra with it
SCHEDULES = ("constant", "cosine", "linear")


def make_optimizer(name: str, groups: list[ParameterGroup]) -> torch.optim.Optimizer:
    """An optimiser over the groups, each with its own learning rate and weight decay."""
    params: list[dict[str, Any]] = [
        {"params": list(g.parameters.values()), "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups
    ]
    require_optimizer(name)
    if name == "adamw":
        return torch.optim.AdamW(params, betas=(0.9, 0.999), eps=1e-8, fused=True)
    try:
        if name == "adamw8bit":
            from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]

            return AdamW8bit(params)
        from prodigyopt import Prodigy  # type: ignore[import-untyped]
    except ImportError as error:
        raise _missing(name) from error
    # Prodigy estimates the rate itself: lr is a factor and stays 1 (Mishchenko & Defazio, 2306.06101).
    return Prodigy([p | {"lr": 1.0} for p in params], safeguard_warmup=True, use_bias_correction=True)


def require_optimizer(name: str) -> None:
    """UsageError for a name that is none, NotAvailableError where its package is missing."""
    if name not in OPTIMIZERS:
        raise UsageError(f"There is no optimizer called {name!r}. There are: {', '.join(OPTIMIZERS)}.")
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name][0]) is None:
        raise _missing(name)


def _missing(name: str) -> NotAvailableError:
    package, extra = PACKAGES[name]
    return NotAvailableError(f'{name} needs {package}: pip install "booth[{extra}]", or use --set optimizer=adamw.')


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
