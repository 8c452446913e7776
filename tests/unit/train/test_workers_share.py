"""Steps of which several workers share the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.noising import Noised
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.registry import METHODS
from booth.train import setup
from booth.train.loop import Step, losses, training_steps
from booth.train.setup import choose_workers
from booth.train.update import Update
from harness import attach, deal, make_method

SHARED = [name for name, kind in METHODS.usable().items() if name != "controlnet"]
TARGET = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


def plain(rng: Rng) -> Batch:
    """Rows with masks and targets of their own, without hints."""
    batch = deal(rng)
    mask = torch.rand(4, 1, 8, 8, generator=rng.generator("mask"))
    return replace(batch, control=None, mask=mask, target=TARGET)


def run(model: Family, update: Update, workers: int, start: int = 0, stop: int = 3) -> list[Step]:
    return list(training_steps(model, plain, update, seed=3, start=start, stop=stop, workers=workers))


def values(update: Update) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in update.parameters().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_parts_are_the_rows_of_the_whole(toy: Family, count: int) -> None:
    batch, rng = plain(Rng(0)), Rng(1)
    parts = batch.parts(count)
    assert len(parts) == min(count, 4)
    assert [p for part in parts for p in part.prompts] == batch.prompts
    whole: Noised = batch.noised(toy.noising, rng)
    noised = [part.noised(toy.noising, rng) for part in parts]
    for name in ("x_t", "t", "target", "weight"):
        assert torch.equal(torch.cat([getattr(n, name) for n in noised]), getattr(whole, name))
    assert batch.mask is not None
    assert torch.equal(torch.cat([p.mask for p in parts if p.mask is not None]), batch.mask)
    sum_of_parts = sum(losses(toy, part, rng) for part in parts)
    assert torch.allclose(torch.as_tensor(sum_of_parts), losses(toy, batch, rng), rtol=1e-5)


def test_one_worker_gets_the_batch_itself() -> None:
    batch = plain(Rng(0))
    assert batch.parts(1) == [batch]


@pytest.mark.parametrize("name", SHARED)
def test_every_method_learns_the_same_up_to_rounding_and_to_the_bit_each_time(toy_base: Path, name: str) -> None:
    method = make_method(name)
    for index in range(len(method.plan())):
        ends: list[dict[str, Tensor]] = []
        firsts: list[Step] = []
        before = torch.get_rng_state()
        for workers in (1, 2, 2):
            model = load_family(str(toy_base))
            update = attach(model, make_method(name).plan()[index])
            done = run(model, update, workers)
            firsts.append(done[0])
            ends.append(values(update))
        assert torch.equal(torch.get_rng_state(), before)
        assert same(ends[1], ends[2])
        assert firsts[1].loss == pytest.approx(firsts[0].loss, rel=1e-5)
        assert firsts[1].gradient_norm == pytest.approx(firsts[0].gradient_norm, rel=1e-3)


@pytest.mark.parametrize("name", SHARED)
def test_a_loss_does_not_depend_on_the_global_generator(toy: Family, name: str) -> None:
    method = make_method(name)
    assert not method.draws
    attach(toy, method.plan()[0])
    values: list[Tensor] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        values.append(losses(toy, plain(Rng(0)), Rng(1)))
    assert torch.equal(*values)


def test_a_resumed_run_repeats_the_steps_of_two_workers(toy: Family) -> None:
    update = attach(toy, make_method("lora", ema=0.9, accumulate=2).plan()[0])
    run(toy, update, 2, 0, 2)
    tensors, plain_values = update.state()
    tensors = {n: t.clone() for n, t in tensors.items()}
    run(toy, update, 2, 2, 4)
    expected = values(update)
    update.load_state(tensors, plain_values)
    run(toy, update, 2, 2, 4)
    assert same(values(update), expected)


def test_a_penalty_counts_once(toy: Family) -> None:
    update = attach(toy, make_method("lora").plan()[0])
    update._penalty = lambda: sum(p.square().sum() for p in update.parameters().values())  # type: ignore[assignment]
    with torch.no_grad():
        for p in update.parameters().values():
            p.add_(0.01)
    one, two = (run(toy, update, workers, stop=1)[0] for workers in (1, 2) if not _undone(update))
    assert two.loss == pytest.approx(one.loss, rel=1e-5)


def _undone(update: Update) -> bool:
    """Put the weights to where they start, whatever was learned."""
    with torch.no_grad():
        for p in update.parameters().values():
            p.fill_(0.01)
    return False


@pytest.mark.parametrize(
    ("name", "settings", "workers"),
    [("lora", {}, 2), ("lora", {"dropout": 0.1}, 1), ("hypernetwork", {"dropout": 0.1}, 1), ("controlnet", {}, 1)],
)
def test_what_draws_within_a_step_is_left_to_one(
    toy: Family, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], workers: int
) -> None:
    monkeypatch.setattr(setup, "available", lambda: 2)
    monkeypatch.setattr(setup, "SHARING", 2)
    plan = make_method(name, **settings).plan()
    assert choose_workers(toy, plan, "cpu") == workers
    assert choose_workers(toy, plan, "cuda") == 1
    toy.scale = "full"
    assert choose_workers(toy, plan, "cpu") == 1
