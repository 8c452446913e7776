"""What every optimiser and every schedule holds to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn

from booth.core.method import MethodConfig, ParameterGroup
from booth.core.optimizer import OptimizerFactory, Schedule
from booth.testing.choices import describes_itself
from booth.train.update import Update

Make = Callable[..., Any]


def _update(factory: OptimizerFactory) -> Update:
    """Two groups of a few values each, far from the minimum, at different rates."""
    groups = [
        ParameterGroup("a", {"a": nn.Parameter(torch.linspace(-3.0, 3.0, 6).view(2, 3))}, 2e-2, weight_decay=1e-2),
        ParameterGroup("b", {"b": nn.Parameter(torch.full((4,), 3.0))}, 2e-2),
    ]
    return Update(groups, MethodConfig.model_validate({"steps": 400, "clip": 100.0}), optimizer=factory)


def _steps(update: Update, start: int, stop: int) -> list[float]:
    values: list[float] = []
    for index in range(start, stop):
        loss = torch.stack([(p - 1).square().sum() for p in update.parameters().values()]).sum()
        values.append(loss.item())
        update.backward(loss)
        update.step(index, update.gradient_norm())
        update.clear()
    return values


def minimises_a_square(make: Make) -> None:
    """Over 400 steps (p - 1)^2 falls to a hundredth, in every group."""
    update = _update(make())
    values = _steps(update, 0, 400)
    assert values[-1] < 0.01 * values[0], f"(p - 1)^2 fell from {values[0]:.3g} to {values[-1]:.3g} only"


def resumes_bit_for_bit(make: Make) -> None:
    """Its state survives safetensors and JSON: taken up again it goes on as if nothing had happened."""
    unbroken = _update(make())
    _steps(unbroken, 0, 12)
    first = _update(make())
    _steps(first, 0, 6)
    state, values = first.state()
    saved, text = save(state), json.dumps(values)
    second = _update(make())
    second.load_state(load(saved), json.loads(text))
    _steps(second, 6, 12)
    for name, p in unbroken.parameters().items():
        assert torch.equal(p, second.parameters()[name]), f"taken up again, {name} ends elsewhere"


def keeps_what_it_says(make: Make) -> None:
    """`state_bytes` is what it keeps of each value, which memory plans and free disk are reckoned with."""
    update = _update(make())
    _steps(update, 0, 2)
    count = sum(p.numel() for p in update.parameters().values())
    kept = sum(
        t.numel() * t.element_size()
        for entry in update.optimizer.state.values()
        for t in entry.values()
        if isinstance(t, torch.Tensor) and t.numel() > 1
    )
    assert kept == make().state_bytes * count, f"state_bytes is {make().state_bytes}, and it keeps {kept / count:g}"


def moves_each_group_at_its_rate(make: Make) -> None:
    """A group with a rate of zero stays where it is, unless the optimiser finds rates itself."""
    update = _update(make())
    before = update.parameters()["b"].detach().clone()
    update.optimizer.param_groups[1]["lr"] = 0.0
    loss = torch.stack([(p - 1).square().sum() for p in update.parameters().values()]).sum()
    update.backward(loss)
    update.optimizer.step()
    stayed = torch.equal(update.parameters()["b"], before)
    assert stayed or make().finds_rate, "a group whose rate is 0 moved, and finds_rate is false"


def moves_each_value_alone(make: Make) -> None:
    """Said to go `by_element`, it moves the parts of a tensor as it moves the whole: a run may be sharded."""
    if not make().by_element:
        return
    start, config = torch.linspace(-3.0, 3.0, 6).view(2, 3), MethodConfig.model_validate({"steps": 8, "clip": 1.0})
    whole = {"a": nn.Parameter(start.clone())}
    parts = {"a": nn.Parameter(start[:1].clone()), "b": nn.Parameter(start[1:].clone())}
    for parameters in (whole, parts):
        _steps(Update([ParameterGroup("", parameters, 2e-2)], config, optimizer=make()), 0, 8)
    together = torch.cat([*parts.values()])
    assert torch.allclose(whole["a"], together, atol=1e-6), "a value's update depends on others of its tensor"


def is_a_finite_factor(make: Make) -> None:
    """It starts at the peak and stays between nothing and the peak, so that no step of a run has a rate of zero."""
    schedule: Schedule = make()
    factors = [schedule(i / 200) for i in range(200)]
    assert factors[0] == 1.0, f"it starts at {factors[0]:g} of the peak, not at 1"
    assert all(0 < f <= 1 for f in factors), "a factor lies outside of (0, 1]"


OPTIMIZER_CHECKS = (
    describes_itself,
    minimises_a_square,
    resumes_bit_for_bit,
    keeps_what_it_says,
    moves_each_group_at_its_rate,
    moves_each_value_alone,
)
SCHEDULE_CHECKS = (describes_itself, is_a_finite_factor)
