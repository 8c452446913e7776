"""Training steps: what each reports, what it leaves alone, and that it depends on its index alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.rng import Rng
from booth.train.loop import training_steps
from booth.train.update import Update
from harness import attach, deal, make_method, steps


def lora(model: Family, **settings: Any) -> Update:
    return attach(model, make_method("lora", **settings).plan()[0])


def values(update: Update) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in update.parameters().items()}


def test_steps_are_counted_from_one_and_report_what_they_did(toy: Family) -> None:
    done = steps(toy, lora(toy, learning_rate=2e-3), 0, 3)
    assert [s.index for s in done] == [1, 2, 3]
    assert all(s.updated and math.isfinite(s.loss) and s.gradient_norm > 0 and s.seconds > 0 for s in done)
    assert done[0].learning_rate == 2e-3


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.5}])
def test_a_step_depends_on_its_index_and_not_on_what_was_drawn_before(toy: Family, settings: dict[str, Any]) -> None:
    update = lora(toy, **settings)
    steps(toy, update, 0, 1)
    tensors, plain = update.state()
    tensors = {n: t.clone() for n, t in tensors.items()}
    steps(toy, update, 5, 6)
    expected = values(update)
    update.load_state(tensors, plain)
    torch.rand(17)  # what a preview in between might draw
    steps(toy, update, 5, 6)
    assert all(torch.equal(expected[n], v) for n, v in values(update).items())


def test_dropout_differs_from_step_to_step(toy: Family) -> None:
    update = lora(toy, dropout=0.5, learning_rate=1e-12)
    with torch.no_grad():
        for name, parameter in update.parameters().items():
            if "lora_B" in name:
                parameter.fill_(0.1)
    sample = toy.noising.sample
    toy.noising.sample = lambda latents, rng: sample(latents, Rng(0))  # type: ignore[method-assign]
    first, second = steps(toy, update, 0, 2, lambda rng: deal(Rng(0)))
    assert first.loss != second.loss


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing(toy: Family, bad: float) -> None:
    update = lora(toy, ema=0.9)
    steps(toy, update, 0, 1)
    before = {n: t.clone() for n, t in update.state()[0].items()}

    def poisoned(rng: Rng) -> Batch:
        batch = deal(rng)
        batch.latents[0, 0, 0, 0] = bad
        return batch

    (step,) = steps(toy, update, 1, 2, poisoned)
    assert not step.updated
    assert all(torch.equal(before[n], t) for n, t in update.state()[0].items())
    assert all(p.grad is None for p in update.parameters().values())


def test_autocast_computes_in_bfloat16_and_keeps_the_weights_in_float32(toy: Family) -> None:
    update = lora(toy)
    seen: list[torch.dtype] = []
    predict = toy.predict

    def recording(*arguments: Any) -> Tensor:
        prediction = predict(*arguments)
        seen.append(prediction.dtype)
        return prediction

    toy.predict = recording  # type: ignore[method-assign]
    done = list(training_steps(toy, deal, update, seed=1, start=0, stop=2, autocast=torch.bfloat16))
    assert set(seen) == {torch.bfloat16}
    assert all(s.updated for s in done)
    assert {p.dtype for p in update.parameters().values()} == {torch.float32}
