"""The one training loop: embed the prompt, add noise, predict, compare, update.

Every method runs through `losses` and `training_steps`. What differs between methods is which tensors `update`
holds, and that was decided before the first step.
"""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from booth.core.batch import Batch, BatchSource
from booth.core.family import Family
from booth.core.objective import Loss
from booth.core.rng import Rng, derived_seed
from booth.train.update import Update


def losses(model: Family, batch: Batch, rng: Rng) -> Tensor:
    """The loss of one micro-batch: steps 1 to 4. Step 5 is the caller's update."""
    condition = model.embed(batch.prompts, batch.control, batch.sizes)  # 1 embed the prompt
    noised = batch.noised(model.noising, rng)  # 2 add noise at timestep t
    prediction = model.predict(noised.x_t, noised.t, condition)  # 3 predict
    return compare(prediction, noised.target, batch.weight * noised.weight, batch.mask, noised.loss)  # 4 compare


def compare(
    prediction: Tensor, target: Tensor, weight: Tensor, mask: Tensor | None = None, loss: Loss | None = None
) -> Tensor:
    """Weighted sum over rows of the mean error, squared unless a `loss` is given; `weight` (B,) holds each row's share.

    `mask` (B, 1, h, w) weighs the places of each row.
    """
    error = loss(prediction, target) if loss else (prediction.float() - target.float()).pow(2)  # (B, C, h, w)
    if mask is not None:
        error = error * mask
    return (weight * error.flatten(1).mean(1)).sum()


@dataclass(frozen=True)
class Step:
    """What one step did."""

    index: int  # 1 is the first
    loss: float
    gradient_norm: float
    learning_rate: float
    updated: bool  # False when the loss or gradient was not finite, and nothing was changed
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, but for numbers that are not finite."""
        return {"step": self.index, **{k: v for k, v in asdict(self).items() if k != "index"}}


def training_steps(
    model: Family,
    batches: BatchSource,
    update: Update,
    *,
    seed: int,
    start: int,
    stop: int,
    autocast: torch.dtype | None = None,
    workers: int = 1,
) -> Iterator[Step]:
    """Yield after each of the steps start+1 ... stop. To stop training is to stop iterating.

    With several `workers` each computes its part of a micro-batch's rows; the gradients are added in the rows' order.
    """
    place = next(iter(model.components().values())).parameters().__next__().device

    def loss_of(part: Batch, rng: Rng) -> Tensor:
        with torch.autocast(place.type, dtype=autocast, enabled=autocast is not None):  # of each thread its own
            return losses(model, part, rng)

    for index in range(start, stop):
        began = time.perf_counter()
        total = 0.0
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            for micro in range(update.accumulate):
                rng = Rng(seed, index, micro)
                torch.manual_seed(derived_seed(seed, index, micro, "layers"))  # dropout draws from the global generator
                with torch.autocast(place.type, dtype=autocast, enabled=autocast is not None):
                    parts = batches(rng).parts(workers)
                total += update.learn([partial(loss_of, part, rng) for part in parts])
        norm = update.gradient_norm()
        finite = math.isfinite(total) and math.isfinite(norm)
        if finite:
            update.step(index, norm)  # 5 update
        update.clear()
        yield Step(index + 1, total, norm, update.learning_rate, finite, time.perf_counter() - began)
