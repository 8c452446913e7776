"""Steps asked for before it is known what the last one found, as on a GPU: the same weights, and the same is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lessons import Heard, Lesson, weights
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from booth.core.batch import Batch
from booth.core.errors import Interrupted
from booth.core.family import Family
from booth.core.rng import Rng
from booth.train.loop import Step, training_steps
from booth.train.run import train
from booth.train.trainer import Trainer
from harness import attach, deal, make_method

SETTINGS: dict[str, Any] = {"ema": 0.9, "clip": 0.02, "accumulate": 2}  # a clip that the third step is below


def poisoned(rng: Rng) -> Batch:
    batch = deal(rng)
    if rng.step == 1:
        batch.latents[0, 0, 0, 0] = math.nan
    return batch


def learned(model: Family, ahead: bool, **settings: Any) -> tuple[list[Step], dict[str, Tensor], dict[str, Any]]:
    """The steps that were made, and all that the update holds after them."""
    method = make_method("lora", **(SETTINGS | settings))
    update = attach(model, method.plan()[0])
    done = list(training_steps(model, poisoned, update, seed=3, start=0, stop=4, ahead=ahead))
    tensors, values = update.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    method.plan()[0].method.detach(model)
    return done, tensors, values


def test_what_is_not_finite_is_left_out_without_being_read(toy: Family) -> None:
    each, expected, values = learned(toy, ahead=False)
    done, tensors, others = learned(toy, ahead=True)
    assert [s.updated for s in done] == [s.updated for s in each] == [True, False, True, True]
    assert [(s.loss, s.gradient_norm) for s in done if s.updated] == [
        (s.loss, s.gradient_norm) for s in each if s.updated
    ]
    clipped = [s.gradient_norm > SETTINGS["clip"] for s in each if s.updated]
    assert any(clipped)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
    assert others == values


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_an_optimiser_that_can_leave_nothing_out_is_not_asked_ahead(toy: Family, optimizer: str) -> None:
    update = attach(toy, make_method("lora", optimizer=optimizer).plan()[0])
    assert update.can_leave_out == (optimizer == "adamw")
    steps = list(training_steps(toy, poisoned, update, seed=3, start=0, stop=3, ahead=True))
    assert [s.updated for s in steps] == [True, False, True]
    assert all(p.isfinite().all() for p in update.parameters().values())


class Reads(TorchDispatchMode):
    """Counts how often a value leaves its device, for which a GPU would have to be waited for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["lora", "dreambooth", "textual_inversion"])
def test_no_value_is_read_within_a_step(toy: Family, name: str) -> None:
    update = attach(toy, make_method(name, ema=0.9).plan()[0])
    toy.remember_embeddings(name != "textual_inversion")
    list(training_steps(toy, deal, update, seed=3, start=0, stop=1))  # what is made once
    with Reads() as reads:
        list(training_steps(toy, deal, update, seed=3, start=1, stop=3, ahead=True))
    assert reads.count == 0
    with Reads() as reads:
        list(training_steps(toy, deal, update, seed=3, start=3, stop=4))
    assert reads.count > 0  # else the above would say nothing


@pytest.mark.usefixtures("no_samples")
def test_a_run_is_the_same_wherever_it_is_stopped(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    straight = train(lesson("lora", "straight", ema=0.9), listeners=[heard])
    monkeypatch.setattr(Trainer, "_ahead", True)
    late, stopped = Heard(), Heard(stop_after=2)
    ahead = train(lesson("lora", "ahead", ema=0.9), listeners=[late])
    config = lesson("lora", "stopped", ema=0.9)
    with pytest.raises(Interrupted):
        train(config, listeners=[stopped])
    resumed = train(config.model_copy(update={"resume": True}), listeners=[stopped])
    assert weights(ahead.folder) == weights(straight.folder) == weights(resumed.folder)
    assert late.steps == heard.steps == stopped.steps
    assert [e.data["loss"] for e in late.of("step")] == [e.data["loss"] for e in heard.of("step")]
    assert ahead.record.final_loss == straight.record.final_loss == resumed.record.final_loss
