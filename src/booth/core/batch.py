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
    cut: tuple[Batch, slice] | None = None  # of which batch this is a part, and which rows of it

    def parts(self, count: int) -> list[Batch]:
        """The rows in `count` parts of nearly the same size, or in as many as there are rows."""
        count = min(count, len(self.prompts))
        ends = [len(self.prompts) * i // count for i in range(count + 1)]
        return [self] if count == 1 else [self._part(slice(*ends[i : i + 2])) for i in range(count)]

    def _part(self, rows: slice) -> Batch:
        named = {"latents", "weight", "control", "mask", "sizes"}
        cut = {n: t[rows] for n in named if (t := getattr(self, n)) is not None}
        return Batch(self.prompts[rows], **cut, cut=(self, rows))

    def noised(self, noising: Noising, rng: Rng) -> Noised:
        """Step 2 of the loop. Rows that bring a target of their own keep it; x_t, t and weight are noising's.

        A part is noised as the same rows of the whole are.
        """
        if self.cut is not None:
            whole, rows = self.cut
            return whole.noised(noising, rng).part(rows)
        drawn = noising.sample(self.latents, rng)
        if self.target is None:
            return drawn
        own = self.target.to(drawn.target)
        return replace(drawn, target=torch.cat([drawn.target[: -len(own)], own]))


class BatchSource(Protocol):
    """Deals batches; the same `rng` always deals the same batch."""

    def __call__(self, rng: Rng) -> Batch: ...
