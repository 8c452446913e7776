"""What every method holds to in reduced precision: what is trained stays in float32, and what is frozen as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from booth.families.loading import load_family
from booth.testing.steps import Make, attach, deal, detach, freeze, tensors
from booth.train.loop import training_steps
from booth.train.update import Update


def trains_float32_in_mixed_precision(make: Make, base: Path, folder: Path) -> None:
    """Under autocast the trained tensors are in float32 and move."""
    model = load_family(str(base))
    for stage in make().plan():
        update = attach(model, stage)
        start = {n: p.detach().clone() for n, p in update.parameters().items()}
        done = list(training_steps(model, deal, update, seed=3, start=0, stop=2, autocast=torch.bfloat16))
        assert all(step.updated for step in done), f"a step of stage {stage.name} was not finite"
        _require_moved(update, start, stage.name)
        freeze(update.groups)


def trains_float32_over_half_precision(make: Make, base: Path, folder: Path) -> None:
    """Over a base in bf16 too: a step is smaller than half of bf16's last digit, and most weights would never move."""
    model, method = load_family(str(base), dtype=torch.bfloat16), make()
    before = {name: t.clone() for name, t in tensors(model).items()}
    for stage in method.plan():
        update = attach(model, stage)
        for autocast in (None, torch.bfloat16):
            start = {n: p.detach().clone() for n, p in update.parameters().items()}
            (done,) = training_steps(model, deal, update, seed=3, start=0, stop=1, autocast=autocast)
            assert done.updated, f"a step of stage {stage.name} was not finite"
            _require_moved(update, start, stage.name)
        freeze(update.groups)
    detach(model, method)
    after = tensors(model)
    differs = [n for n, t in before.items() if after[n].dtype != t.dtype or not torch.equal(after[n], t)]
    assert not differs, f"detached from a base in half precision, {', '.join(differs[:3])} is not as it was"


def casts_no_frozen_weight(make: Make, base: Path, folder: Path) -> None:
    """Over a base in half precision and under autocast no step copies a frozen weight of the base into another one.

    A method that says that it computes with their values may.
    """
    model, method = load_family(str(base), dtype=torch.bfloat16), make()
    loaded = {name: t.detach() for name, t in tensors(model).items()}  # alive, lest others get their places
    held = {t.untyped_storage().data_ptr(): name for name, t in loaded.items()}
    how: dict[str, Any] = {"seed": 3, "autocast": torch.bfloat16}
    for stage in method.plan():
        update = attach(model, stage)
        model.remember_embeddings(not stage.method.reads_prompts)
        list(training_steps(model, deal, update, start=0, stop=1, **how))  # prompts are embedded once
        with Casts(held) as casts:
            list(training_steps(model, deal, update, start=1, stop=2, **how))
        if not stage.method.reads_weights:
            assert not casts.found, f"each step of stage {stage.name} casts {', '.join(sorted(casts.found)[:3])}"
        freeze(update.groups)
    detach(model, method)


class Casts(TorchDispatchMode):
    """Writes down which of some tensors, named by where their values lie, are copied into another precision."""

    def __init__(self, watched: dict[int, str]) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._watched = watched

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") not in (None, args[0].dtype):
            name = self._watched.get(args[0].untyped_storage().data_ptr())
            self.found |= set() if name is None else {name}
        return func(*args, **(kwargs or {}))


def _require_moved(update: Update, start: dict[str, torch.Tensor], stage: str) -> None:
    types = {p.dtype for p in update.parameters().values()}
    assert types == {torch.float32}, f"stage {stage} trains tensors in {types}, not in float32 alone"
    assert any(not torch.equal(p, start[n]) for n, p in update.parameters().items()), f"nothing moved in stage {stage}"
