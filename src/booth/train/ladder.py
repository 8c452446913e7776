"""What is done when memory runs out in a step: the same step again in smaller parts, then with recomputed activations.

The batch, its noise and so its gradient stay what they were, but for the rounding of sums; only time is paid.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from booth.core.batch import BatchSource
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.rng import Rng
from booth.events import Reporter
from booth.train.loop import gradients
from booth.train.update import Update


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
        while True:
            model.recompute_activations(True) if self.recomputes else None
            try:
                return self._make(model, batches, update, **how, **({"parts": self.parts} if self.parts > 1 else {}))
            except Exception as error:
                update.clear()  # half of the gradients may be there
                if not is_out_of_memory(error) or not self._step_down(model, len(batches(Rng(seed, index)).prompts)):
                    raise
            _give_back()
            done = f"each batch in {self.parts} parts" + ", with activations recomputed" * self.recomputes
            told = f"Out of memory at step {index + 1}: it is made again, and so are all that follow, {done}."
            self._reporter.emit("memory", "warning", step=index + 1, **self.state(), text=told)

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
