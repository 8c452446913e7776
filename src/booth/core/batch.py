"""What one micro-batch holds, and where batches come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from booth.core.noising import Noised, Noising
from booth.core.rng import Rng


@dataclass(frozen=True)
class Batch:
    """Rows to learn from. Prior preservation, masks and caption dropout are rows, not branches in the loop."""

    prompts: list[str]
    latents: Tensor  # (B, C, h, w) scaled latents
    weight: Tensor  # (B,) share of each row in the loss: 1/n for n photos, lambda/m for m class pictures
    control: Tensor | None = None  # (B, 3, H, W) control image in [0, 1]
    mask: Tensor | None = None  # (B, 1, h, w) weight of each place in the loss; of mean 1 where the row's share is kept
    target: Tensor | None = None  # (n, C, h, w) what the last n rows are to predict, in place of what noising says
    sizes: Tensor | None = None  # (B, 6) size ids, where pictures are no squares; see booth.data.buckets.size_ids

    def noised(self, noising: Noising, rng: Rng) -> Noised:
        """Step 2 of the loop. Rows that bring a target of their own keep it; x_t, t and weight are noising's."""
        drawn = noising.sample(self.latents, rng)
        if self.target is None:
            return drawn
        own = self.target.to(drawn.target)
        return replace(drawn, target=torch.cat([drawn.target[: -len(own)], own]))

    def split(self, noising: Noising, rng: Rng, count: int) -> list[Batch]:
        """The rows in `count` parts or, where there are not so many, one each; their losses add up to that of all.

        Each is noised as it would be among the others.
        """
        drawn, size = self.noised(noising, rng), -(-len(self.prompts) // count)
        parts: list[Batch] = []
        for first in range(0, len(self.prompts), size):
            rows = slice(first, first + size)
            noised = Noised(drawn.x_t[rows], drawn.t[rows], drawn.target[rows], drawn.weight[rows], drawn.loss)
            told = [None if tensor is None else tensor[rows] for tensor in (self.control, self.mask, self.sizes)]
            control, mask, sizes = told
            part = Part(self.prompts[rows], self.latents[rows], self.weight[rows], control, mask, sizes=sizes)
            parts.append(replace(part, drawn=noised))
        return parts


@dataclass(frozen=True)
class Part(Batch):
    """Some rows of a batch, noised already."""

    drawn: Noised | None = None

    def noised(self, noising: Noising, rng: Rng) -> Noised:
        assert self.drawn is not None
        return self.drawn


class BatchSource(Protocol):
    """Deals batches; the same `rng` always deals the same batch."""

    def __call__(self, rng: Rng) -> Batch: ...
