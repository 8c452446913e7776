"""Targets and weights against the papers' formulae, computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from booth.core.noising import Epsilon, FlowMatch, Noising, Velocity
from booth.core.rng import Rng
from booth.train.timesteps.logit_normal import LogitNormal
from booth.train.timesteps.uniform import Uniform
from booth.train.weightings.min_snr import MinSNR

# Stable Diffusion's own schedule: 1000 betas, linear in the square root.
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS_CUMPROD = torch.cumprod(1 - BETAS, 0)


def test_epsilon_and_velocity_noise_by_the_same_formula():
    x, rng = torch.randn(64, 4, 2, 2, generator=torch.Generator().manual_seed(0)), Rng(3, 1)
    eps, t = rng.normal("noise", x), (rng.uniform("timestep", 64) * 1000).long()
    alpha, sigma = (a.sqrt().view(-1, 1, 1, 1).float() for a in (ALPHAS_CUMPROD[t], 1 - ALPHAS_CUMPROD[t]))
    for noising, target in ((Epsilon(ALPHAS_CUMPROD), eps), (Velocity(ALPHAS_CUMPROD), alpha * eps - sigma * x)):
        noised = noising.sample(x, rng)
        assert torch.equal(noised.t, t)
        assert torch.allclose(noised.x_t, alpha * x + sigma * eps)
        assert torch.allclose(noised.target, target)
        assert torch.equal(noised.weight, torch.ones(64))
    assert len(t.unique()) > 50  # each row its own timestep


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("t", [0, 100, 500, 999])
def test_min_snr_weights_by_hand(t: int, gamma: float):
    a = float(ALPHAS_CUMPROD[t])
    snr = a / (1 - a)
    assert float(Epsilon(ALPHAS_CUMPROD, MinSNR(gamma=gamma)).weight(torch.tensor([t]))) == pytest.approx(
        min(snr, gamma) / snr
    )
    assert float(Velocity(ALPHAS_CUMPROD, MinSNR(gamma=gamma)).weight(torch.tensor([t]))) == pytest.approx(
        min(snr, gamma) / (snr + 1)
    )


def test_the_velocity_weight_is_not_the_well_known_wrong_one():
    """Five scripts of diffusers use min(SNR, 5) / SNR + 1 for velocity: 236, 7 and 429 times too much."""
    t = torch.tensor([0, 500, 999])
    snr = ALPHAS_CUMPROD[t] / (1 - ALPHAS_CUMPROD[t])
    wrong = snr.clamp(max=5) / snr + 1
    ratio = wrong / Velocity(ALPHAS_CUMPROD, MinSNR()).weight(t)
    assert [round(r) for r in ratio.tolist()] == [236, 7, 429]


@pytest.mark.parametrize("kind", [Epsilon, Velocity])
def test_weights_are_finite_where_the_signal_or_the_noise_is_zero(kind: type[Epsilon | Velocity]):
    weight = kind(torch.tensor([1.0, 0.5, 0.0]), MinSNR()).weight(torch.arange(3))
    assert weight.isfinite().all()
    assert (weight >= 0).all()
    assert (weight <= 1).all()
    # SNR infinite: nothing to learn. SNR 0: min(SNR, 5) / SNR is 1, and over SNR + 1 it is 0.
    assert weight.tolist() == pytest.approx([0, 1, 1] if kind is Epsilon else [0, 0.5, 0], abs=1e-9)


def test_each_rows_weight_is_its_own_timesteps():
    x, rng = torch.zeros(32, 1, 1, 1), Rng(0)
    noising = Velocity(ALPHAS_CUMPROD, MinSNR())
    noised = noising.sample(x, rng)
    assert torch.equal(noised.weight, noising.weight(noised.t))
    assert len(noised.weight.unique()) > 20


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_a_straight_line(shift: float):
    x, rng = torch.randn(256, 4, 2, 2, generator=torch.Generator().manual_seed(0)), Rng(9)
    noised = FlowMatch(shift=shift).sample(x, rng)
    eps, u = rng.normal("noise", x), rng.uniform("timestep", 256)
    sigma = shift * u / (1 + (shift - 1) * u)
    s = sigma.view(-1, 1, 1, 1)
    assert torch.allclose(noised.x_t, (1 - s) * x + s * eps)
    assert torch.allclose(noised.target, eps - x)
    assert torch.allclose(noised.t, 1000 * sigma)
    assert torch.equal(noised.weight, torch.ones(256))
    # Following the target from x_t for the remaining 1 - sigma ends in the noise, and back for sigma in the picture.
    assert torch.allclose(noised.x_t + (1 - s) * noised.target, eps, atol=1e-5)
    assert torch.allclose(noised.x_t - s * noised.target, x, atol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.5)])
def test_logit_normal_timesteps_have_their_distribution(mean: float, std: float):
    u = LogitNormal(mean=mean, std=std)(Rng(1), 20_000)
    assert ((u >= 0) & (u < 1)).all()
    z = torch.logit(u.double())
    assert float(z.mean()) == pytest.approx(mean, abs=0.03)
    assert float(z.std()) == pytest.approx(std, abs=0.03)


def test_uniform_timesteps_reach_every_one_of_the_thousand():
    t = (Uniform()(Rng(2), 40_000) * 1000).long()
    assert t.unique().tolist() == list(range(1000))


@pytest.mark.parametrize("noising", [Epsilon(ALPHAS_CUMPROD, MinSNR()), Velocity(ALPHAS_CUMPROD), FlowMatch()])
def test_the_draw_depends_on_seed_step_and_micro_batch_alone(noising: Noising):
    x: Tensor = torch.zeros(4, 1, 2, 2)
    first = noising.sample(x, Rng(1, 2, 3))
    torch.manual_seed(99)
    again = noising.sample(x, Rng(1, 2, 3))
    assert torch.equal(first.x_t, again.x_t)
    assert torch.equal(first.t, again.t)
    for other in (Rng(2, 2, 3), Rng(1, 3, 3), Rng(1, 2, 4)):
        assert not torch.equal(noising.sample(x, other).x_t, first.x_t)
