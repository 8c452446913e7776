"""The one training loop: embed the prompt, add noise, predict, compare, update.

Every method runs through `losses` and `training_steps`. What differs between methods is which tensors `update`
holds, and that was decided before the first step.
"""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from booth.core.batch import Batch, BatchSource
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.objective import Loss
from booth.core.rng import Rng, derived_seed
from booth.train.update import Update

ALL = slice(None)


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
    """What one step did. It may still be at work on a GPU: whoever asks for what it found waits for it."""

    index: int  # 1 is the first
    learning_rate: float
    seconds: float
    found: Tensor  # (n + 1,) the losses of its micro-batches, and the norm of the gradient

    @cached_property
    def _found(self) -> tuple[float, float]:
        values = cast(list[float], self.found.tolist())
        *each, norm = values
        return sum(value / len(each) for value in each), norm

    @property
    def loss(self) -> float:
        """The mean over its micro-batches."""
        return self._found[0]

    @property
    def gradient_norm(self) -> float:
        """Before clipping."""
        return self._found[1]

    @property
    def updated(self) -> bool:
        """False when the loss or gradient was not finite, and nothing was changed."""
        return all(map(math.isfinite, self._found))

    def to_json(self) -> dict[str, Json]:
        """Plain values, but for numbers that are not finite."""
        names = ("loss", "gradient_norm", "learning_rate", "updated", "seconds")
        return {"step": self.index, **{name: getattr(self, name) for name in names}}


def gradients(
    model: Family,
    batches: BatchSource,
    update: Update,
    *,
    seed: int,
    index: int,
    autocast: torch.dtype | None = None,
    parts: int = 1,
    own: slice = ALL,
) -> list[Tensor]:
    """Add up the gradients of a step; the loss of each of its micro-batches.

    Each is computed in so many `parts`, one after the other, or in its `own` ones alone. The gradient stays that of the
    whole, but for the rounding of sums.
    """
    place, told = device_of(model), list[Tensor]()
    # With no other generator than the CPU's this is the same seed at a hundredth of the time.
    alone = place.type == "cpu"
    seed_layers = cast(Callable[[int], object], torch.default_generator.manual_seed if alone else torch.manual_seed)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        for micro in range(update.accumulate):
            rng = Rng(seed, index, micro)
            seed_layers(derived_seed(seed, index, micro, "layers"))  # dropout draws from the global generator
            batch = batches(rng)
            several = list(enumerate([batch] if parts == 1 else batch.split(model.noising, rng, parts)))
            told.append(torch.zeros((), device=place))
            for i, part in several[own]:
                with torch.autocast(place.type, dtype=autocast, enabled=autocast is not None):
                    loss = losses(model, part, rng)
                    loss = update.penalised(loss) if i == 0 else loss
                update.backward(loss / update.accumulate)
                told[-1] = told[-1] + loss.detach()
    return told


def device_of(model: Family) -> torch.device:
    """Where a model is."""
    return next(iter(model.components().values())).parameters().__next__().device


def training_steps(
    model: Family,
    batches: BatchSource,
    update: Update,
    *,
    seed: int,
    start: int,
    stop: int,
    autocast: torch.dtype | None = None,
    ahead: bool = False,
    gradients: Callable[..., list[Tensor]] = gradients,
) -> Iterator[Step]:
    """Yield after each of the steps start+1 ... stop. To stop training is to stop iterating.

    With `ahead` a step is yielded once the one before it has ended, so that a GPU never waits for what is asked of it;
    an optimiser that can leave out what is not finite does so there. Otherwise, and with any other optimiser, a step
    has ended when it is yielded.
    """
    before: Step | None = None
    for index in range(start, stop):
        began = time.perf_counter()
        told = gradients(model, batches, update, seed=seed, index=index, autocast=autocast)  # 1 to 4
        norm = update.norm()
        found = torch.stack([*told, norm.to(told[0])])
        if ahead and update.can_leave_out:
            update.step_where(found.isfinite().all(), index, norm)  # 5 update
            if before is not None:
                _ = before.loss  # waits for it: no more than one step is asked for in advance
        else:
            found = found.cpu()
            if found.isfinite().all():
                update.step(index, float(found[-1]))  # 5 update
        update.clear()
        before = Step(index + 1, update.learning_rate, time.perf_counter() - began, found)
        yield before
