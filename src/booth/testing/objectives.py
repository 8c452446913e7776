"""What every weighting, loss and timestep sampler holds to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from booth.core.noising import Epsilon, FlowMatch, Noising, Velocity
from booth.core.objective import Loss, TimestepSampler, Weighting
from booth.core.rng import Rng
from booth.testing.choices import describes_itself

Make = Callable[..., Any]
# Stable Diffusion's schedule, with a level of no noise before it and one of no signal after it.
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
LEVELS = torch.cat([torch.ones(1), torch.cumprod(1 - BETAS, 0), torch.zeros(1)])


def _noisings(weighting: Weighting) -> list[Noising]:
    every: list[Noising] = [Epsilon(LEVELS), Velocity(LEVELS), FlowMatch()]
    return [n.chosen(weighting, None, None) for n in every if n.prediction in weighting.predictions]


def weighs_every_level(make: Make) -> None:
    """At each level, the noise-free and the signal-free one too, the weight is finite and not negative; some count."""
    for noising in _noisings(make()):
        if isinstance(noising, Epsilon | Velocity):
            weight = noising.weight(torch.arange(len(LEVELS)))
        else:
            weight = noising.sample(torch.zeros(4096, 1, 1, 1), Rng(0)).weight
        told = f"for {noising.prediction}"
        assert weight.ndim == 1, f"{told} it gives a weight of shape {tuple(weight.shape)}, not one a row"
        assert bool(weight.isfinite().all()), f"{told} a weight is not finite"
        assert bool((weight >= 0).all()), f"{told} a weight is negative"
        assert bool(weight.any()), f"{told} no level counts"


def weighs_rows_apart(make: Make) -> None:
    """A row's weight is that of its own level, whatever the others in its batch are."""
    for noising in _noisings(make()):
        if isinstance(noising, Epsilon | Velocity):
            t = torch.tensor([10, 500, 990])
            alone = torch.cat([noising.weight(t[i : i + 1]) for i in range(3)])
            assert torch.allclose(noising.weight(t), alone), f"for {noising.prediction} rows change each other's weight"


def is_an_error(make: Make) -> None:
    """It is 0 where both are equal and above where they differ, place by place, in float32, and takes the gradient."""
    loss: Loss = make()
    target = torch.linspace(-2, 2, 24, dtype=torch.float16).view(2, 3, 2, 2)
    same, other = loss(target, target), loss(target + 1, target)
    assert same.shape == other.shape == target.shape, "it does not keep the shape of the prediction"
    assert same.dtype == torch.float32, f"it is in {same.dtype}, which overflows in half precision"
    assert not bool(same.any()), "it is not 0 where prediction and target are equal"
    assert bool((other > 0).all()), "it is not above 0 where they differ"
    prediction = torch.zeros(2, 3, 2, 2, requires_grad=True)
    loss(prediction, target.float()).sum().backward()
    assert prediction.grad is not None, "it takes no gradient"
    assert bool(prediction.grad.isfinite().all()), "its gradient is not finite"


def draws_positions(make: Make) -> None:
    """Positions lie in [0, 1), one a row, depend on the rng alone, and spread over the axis."""
    sampler: TimestepSampler = make()
    drawn = sampler(Rng(1), 4096)
    torch.manual_seed(5)
    assert torch.equal(drawn, sampler(Rng(1), 4096)), "the same rng draws other positions"
    assert not torch.equal(drawn, sampler(Rng(2), 4096)), "another seed draws the same positions"
    assert drawn.shape == (4096,), f"it draws positions of shape {tuple(drawn.shape)}"
    assert bool(((drawn >= 0) & (drawn < 1)).all()), "a position lies outside of [0, 1)"
    assert len((drawn * 100).long().unique()) > 1, "every row has the same noise level"


WEIGHTING_CHECKS = (describes_itself, weighs_every_level, weighs_rows_apart)
LOSS_CHECKS = (describes_itself, is_an_error)
TIMESTEP_CHECKS = (describes_itself, draws_positions)
