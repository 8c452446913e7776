"""What is done when memory runs out in a step: the same step again in smaller parts, then with recomputed activations.

So is what a step asks the untouched base, whether it asks itself or had it asked ahead.

The batch, its noise and so its gradient stay what they were, but for the rounding of sums; only time is paid.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from booth.core.batch import BatchSource
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.rng import Rng
from booth.data.own_predictions import OwnPredictions
from booth.events import Reporter
from booth.train.loop import gradients
from booth.train.update import Update

T = TypeVar("T")


class Ladder:
    """Makes the gradients of a step in as many parts as memory allows, and stays there."""

    def __init__(self, reporter: Reporter, make: Callable[..., list[Tensor]] = gradients) -> None:
        self.parts = 1  # of each micro-batch
        self.recomputes = False  # whether activations are recomputed, though that was not asked for
        self._reporter, self._make = reporter, make

    def __call__(
        self, model: Family, batches: BatchSource, update: Update, *, seed: int, index: int, **how: Any
    ) -> list[Tensor]:
        """In place of `booth.train.loop.gradients`; out of memory on the lowest rung is raised as it came."""
        how |= {"seed": seed, "index": index}

        def make() -> list[Tensor]:
            return self._make(model, batches, update, **how, **({"parts": self.parts} if self.parts > 1 else {}))

        return self._until_it_fits(make, model, batches, Rng(seed, index), update.clear)

    def ask(self, model: Family, source: OwnPredictions, rngs: Callable[[], Iterable[Rng]], first: Rng) -> None:
        """The same for what is asked ahead of the step that begins with `first`; `rngs` are gone through anew."""
        self._until_it_fits(lambda: source.ask(rngs()), model, source, first, lambda: None)

    def _until_it_fits(
        self, make: Callable[[], T], model: Family, batches: BatchSource, rng: Rng, undo: Callable[[], None]
    ) -> T:
        """What `make` makes of a step, on the first rung on which there is memory for it."""
        asked = batches if isinstance(batches, OwnPredictions) else None
        while True:
            model.recompute_activations(True) if self.recomputes else None
            if asked is not None:
                asked.parts = self.parts
            try:
                return make()
            except Exception as error:
                undo()  # half of the gradients may be there
                if not is_out_of_memory(error) or not self._step_down(model, _rows(batches, rng)):
                    raise
            _give_back()
            step = rng.step + 1
            done = f"each batch in {self.parts} parts" + ", with activations recomputed" * self.recomputes
            told = f"Out of memory at step {step}: it is made again, and so are all that follow, {done}."
            self._reporter.emit("memory", "warning", step=step, **self.state(), text=told)

    def _step_down(self, model: Family, rows: int) -> bool:
        """Take the next rung; whether there is one."""
        if self.parts < rows:
            self.parts = min(rows, 2 * self.parts)
            return True
        if self.recomputes:
            return False
        try:
            model.recompute_activations(True)
        except UsageError:  # a family that cannot
            return False
        self.recomputes = True
        return True

    def state(self) -> dict[str, Json]:
        """Plain values for a checkpoint, so that a resumed run repeats itself to the bit."""
        return {"parts": self.parts, "recomputes": self.recomputes}

    def load_state(self, values: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.parts, self.recomputes = values["parts"], values["recomputes"]


def _rows(batches: BatchSource, rng: Rng) -> int:
    """How many rows a batch has; the base is not asked about them."""
    dealt = batches.batches if isinstance(batches, OwnPredictions) else batches
    return len(dealt(rng).prompts)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of a device or of the machine, whose allocator says so in words only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _give_back() -> None:
    """What failed holds on to tensors until it is collected."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
