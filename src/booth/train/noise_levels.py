"""The loss by noise level: where on the way from picture to noise something is still to be learned."""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from booth.choices import loss_of
from booth.core.batch import Batch, BatchSource
from booth.core.family import Family
from booth.core.method import MethodConfig
from booth.core.objective import TimestepSampler
from booth.core.rng import Rng, derived_seed
from booth.train.loop import losses


class At(TimestepSampler):
    """One place on the noise axis."""

    name = "at"
    title = "At one level"
    source = ""

    level: float = Field(ge=0, lt=1)

    def __call__(self, rng: Rng, size: int) -> Tensor:
        return torch.full((size,), self.level)


def loss_by_noise_level(
    model: Family,
    batches: BatchSource,
    config: MethodConfig,
    seed: int,
    *,
    levels: int,
    draws: int,
    autocast: torch.dtype | None = None,
) -> list[tuple[float, float]]:
    """(level, mean loss of the photo rows) in the middle of each of `levels` equal parts of the noise axis.

    Each is the mean over `draws` batches, the same ones for every level and whenever it is asked for; 0 is no noise.
    Levels are not weighted, so that two runs can be compared whatever they were trained with. Nothing is changed.
    """
    former, place = model.noising, next(next(iter(model.components().values())).parameters()).device
    places = [(i + 0.5) / levels for i in range(levels)]
    rngs = [Rng(derived_seed(seed, "noise levels"), draw) for draw in range(draws)]
    found: list[tuple[float, float]] = []
    devices = [place] if place.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(derived_seed(seed, "noise levels", "layers"))
            for level in places:
                model.noising = model.make_noising().chosen(None, loss_of(config), At(level=level))
                with torch.autocast(place.type, dtype=autocast, enabled=autocast is not None):
                    each = [losses(model, _photo_rows(batches(rng), config.batch_size), rng).item() for rng in rngs]
                found.append((level, sum(each) / draws))
    finally:
        model.noising = former
    return found


def _photo_rows(batch: Batch, count: int) -> Batch:
    """The first rows, which are of photos; what is behind them keeps the class as it was."""

    def first(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[:count]

    return replace(
        batch,
        prompts=batch.prompts[:count],
        latents=batch.latents[:count],
        weight=batch.weight[:count],
        control=first(batch.control),
        mask=first(batch.mask),
        sizes=first(batch.sizes),
        target=None,
    )
