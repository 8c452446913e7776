"""Prior preservation without class pictures: class rows that the untouched base has answered itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.noising import Noising
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches


class OwnPredictions:
    """A BatchSource whose class rows bring their own target: what the base predicts there before it is taught.

    The base is asked before a method is attached, about every micro-batch of the stage. Randomness is derived, so that
    its rows are known in advance to the bit, timesteps and noise included. One forward pass a row and the size of a
    latent in memory is the price; in return nothing has to be switched off while training, and a full fine-tuning is
    treated like an adapter.
    """

    def __init__(self, batches: PhotoBatches) -> None:
        self.batches = batches
        self._targets: dict[Rng, Tensor] = {}

    def ask(self, model: Family, noising: Noising, rngs: Iterable[Rng], autocast: torch.dtype | None = None) -> None:
        """Write down the targets of these micro-batches, unless they are known; nothing may be attached to `model`."""
        if any(model.trainable_in(component) for component in model.components()):
            raise ValueError("only the frozen base can be asked, before a method is attached")
        model.remember_embeddings(True)
        for rng in rngs:
            if rng not in self._targets:
                self._targets[rng] = self._answer(model, noising, rng, autocast)
        model.remember_embeddings(False)

    def prompts(self) -> list[str] | None:
        """As those of the batches."""
        return self.batches.prompts()

    def __call__(self, rng: Rng) -> Batch:
        return replace(self.batches(rng), target=self._targets[rng])

    def _answer(self, model: Family, noising: Noising, rng: Rng, autocast: torch.dtype | None) -> Tensor:
        """What the base predicts for the class rows of one micro-batch, (n, C, h, w) on the CPU."""
        batch = self.batches(rng)
        noised = noising.sample(batch.latents, rng)
        rows = slice(-self.batches.batch_size, None)
        device = noised.x_t.device.type
        with torch.no_grad(), torch.autocast(device, dtype=autocast, enabled=autocast is not None):
            sizes = None if batch.sizes is None else batch.sizes[rows]
            condition = model.embed(batch.prompts[rows], sizes=sizes)
            return model.predict(noised.x_t[rows], noised.t[rows], condition).float().cpu()
