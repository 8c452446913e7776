"""Optimisers by name, and the schedules' factors."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

from booth.choices import optimizer_of, schedule_of
from booth.core.errors import NotAvailableError, UsageError
from booth.core.method import MethodConfig, ParameterGroup
from booth.registry import SCHEDULES
from booth.train.update import Update, make_optimizer, rate_factor


def groups() -> list[ParameterGroup]:
    return [
        ParameterGroup("a", {"a": nn.Parameter(torch.full((2,), 3.0))}, 1e-1, weight_decay=0.5),
        ParameterGroup("b", {"b": nn.Parameter(torch.full((2,), 3.0))}, 1e-2),
    ]


@pytest.mark.parametrize("name", ["adamw", "prodigy"])
def test_each_minimises_a_square(name: str):
    made = groups()
    update = Update(made, MethodConfig(optimizer=name, steps=400, clip=100.0))
    for index in range(400):
        loss = sum((p - 1).square().sum() for p in update.parameters().values())
        update.backward(loss)
        update.step(index, update.gradient_norm())
        update.clear()
    assert torch.allclose(update.parameters()["b"], torch.ones(2), atol=0.1)


def test_adamw_takes_rate_and_decay_of_each_group():
    made = make_optimizer(optimizer_of(MethodConfig()), groups())
    assert isinstance(made, torch.optim.AdamW)
    assert [(g["lr"], g["weight_decay"]) for g in made.param_groups] == [(1e-1, 0.5), (1e-2, 0.0)]
    assert made.defaults["betas"] == (0.9, 0.999)


def test_adamws_first_step_by_hand():
    made = groups()
    update = Update(made, MethodConfig(clip=100.0))
    (update.parameters()["a"].sum() * 2 + update.parameters()["b"].sum() * 7).backward()
    update.step(0, update.gradient_norm())
    # Decay first, then one rate in the gradient's direction, whatever its size.
    assert torch.allclose(update.parameters()["a"], torch.full((2,), 3 * (1 - 0.1 * 0.5) - 0.1), atol=1e-6)
    assert torch.allclose(update.parameters()["b"], torch.full((2,), 3 - 0.01), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("adamw8bit", "bitsandbytes", "gpu"), ("prodigy", "prodigyopt", "prodigy")]
)
def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)  # as if not installed
    monkeypatch.setitem(sys.modules, f"{package}.optim", None)
    with pytest.raises(NotAvailableError, match=rf"{package}.*booth\[{extra}\].*optimizer=adamw"):
        make_optimizer(optimizer_of(MethodConfig(optimizer=name)), groups())


def test_an_unknown_optimizer_or_schedule_is_a_usage_error():
    with pytest.raises(UsageError, match=r"'sgd'.*adamw, adamw8bit, prodigy"):
        optimizer_of(MethodConfig(optimizer="sgd"))
    with pytest.raises(UsageError, match=r"'step'.*constant, cosine, linear"):
        schedule_of(MethodConfig(schedule="step"))


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_in_equal_steps_to_one(name: str):
    assert [rate_factor(SCHEDULES[name](), i, 10, 4) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_schedules_by_hand():
    assert [rate_factor(SCHEDULES["constant"](), i, 4, 0) for i in range(4)] == [1, 1, 1, 1]
    assert [rate_factor(SCHEDULES["linear"](), i, 4, 0) for i in range(4)] == [1, 0.75, 0.5, 0.25]
    assert rate_factor(SCHEDULES["linear"](), 6, 10, 2) == 0.5
    cosine = [rate_factor(SCHEDULES["cosine"](), i, 4, 0) for i in range(4)]
    assert cosine == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_step_of_a_run_has_a_rate_of_zero(name: str):
    assert all(rate_factor(SCHEDULES[name](), i, 50, 5) > 0 for i in range(50))
