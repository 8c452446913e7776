"""Weightings, losses and timestep samplers against their papers' formulae, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from booth.choices import noising_of
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import MethodConfig
from booth.core.noising import Epsilon, FlowMatch, Velocity
from booth.core.objective import NoiseLevels, Prediction, Weighting
from booth.core.rng import Rng
from booth.registry import TIMESTEPS, WEIGHTINGS
from booth.train.loop import losses
from booth.train.losses.huber import Huber
from booth.train.timesteps.mode import Mode
from booth.train.update import Update
from booth.train.weightings.edm import EDM
from booth.train.weightings.p2 import P2
from harness import attach, deal, make_method, steps

SIGNALS = torch.tensor([0.99, 0.6, 0.3, 0.02], dtype=torch.float64)  # alpha^2 of a variance-preserving schedule


def levels(prediction: Prediction) -> NoiseLevels:
    if prediction == "flow":
        sigma = torch.tensor([0.1, 0.4, 0.6, 0.95], dtype=torch.float64)
        return NoiseLevels((1 - sigma) ** 2, sigma**2, "flow")
    return NoiseLevels(SIGNALS, 1 - SIGNALS, prediction)


def per_clean(found: NoiseLevels) -> torch.Tensor:
    """How the squared error of the prediction follows from that of the x_0 that it implies, by its definition."""
    x0, eps, off = 0.3, -0.8, 1e-3
    alpha, sigma = found.signal.sqrt(), found.noise.sqrt()
    x = alpha * x0 + sigma * eps

    def predicted(clean: float) -> torch.Tensor:
        noise = (x - alpha * clean) / sigma
        return {"epsilon": noise, "velocity": alpha * noise - sigma * clean, "flow": noise - clean}[found.prediction]

    return ((predicted(x0 + off) - predicted(x0)) / off) ** 2


@pytest.mark.parametrize("prediction", ["epsilon", "velocity", "flow"])
@pytest.mark.parametrize(
    ("weighting", "of_clean"),
    [
        (EDM(sigma_data=0.5), lambda snr: (1 / snr + 0.25) / (0.25 / snr)),
        (P2(k=1.0, gamma=1.0), lambda snr: snr / (1 + snr)),
        (P2(k=2.0, gamma=0.5), lambda snr: snr / (2 + snr) ** 0.5),
    ],
)
def test_a_weighting_says_the_same_of_x0_whatever_is_predicted(prediction: Prediction, weighting: Weighting, of_clean):
    found = levels(prediction)
    snr = found.signal / found.noise
    assert torch.allclose(weighting(found) * per_clean(found), of_clean(snr))


def test_edm_of_data_of_deviation_one_is_constant_for_velocity() -> None:
    assert torch.allclose(EDM(sigma_data=1.0)(levels("velocity")), torch.ones(4, dtype=torch.float64))


def test_flow_weightings_by_hand() -> None:
    found = levels("flow")
    assert WEIGHTINGS["sigma_sqrt"]()(found).tolist() == pytest.approx([100, 6.25, 1 / 0.36, 1 / 0.9025])
    bell = [2 / (math.pi * (1 - 2 * s + 2 * s * s)) for s in (0.1, 0.4, 0.6, 0.95)]
    assert WEIGHTINGS["cosmap"]()(found).tolist() == pytest.approx(bell)


def test_huber_by_hand() -> None:
    found = Huber(delta=0.5)(torch.tensor([0.0, 0.2, 0.5, 2.0, -2.0]), torch.zeros(5))
    assert found.tolist() == pytest.approx([0, 0.04, 0.25, 2 * 0.5 * 2 - 0.25, 1.75])


def test_mode_sampling_by_hand() -> None:
    u = Rng(3).uniform("timestep", 8)
    expected = [1 - v - 1.29 * (math.cos(math.pi / 2 * v) ** 2 - 1 + v) for v in u.tolist()]
    assert Mode()(Rng(3), 8).tolist() == pytest.approx(expected, abs=1e-5)
    many = Mode()(Rng(1), 20_000)
    assert float(((many > 0.25) & (many < 0.75)).float().mean()) > 0.6  # more of the middle than a half


@pytest.mark.parametrize("base", [Epsilon(SIGNALS), Velocity(SIGNALS), FlowMatch()])
def test_what_is_chosen_leaves_the_bases_own_noising_alone(base) -> None:
    other = base.chosen(P2(), Huber(), TIMESTEPS["logit_normal"]())
    x = torch.zeros(16, 1, 2, 2)
    assert torch.equal(base.sample(x, Rng(0)).weight, torch.ones(16))
    assert base.sample(x, Rng(0)).loss is None
    assert not torch.equal(other.sample(x, Rng(0)).t, base.sample(x, Rng(0)).t)
    assert isinstance(other.sample(x, Rng(0)).loss, Huber)
    assert other.chosen(None, None, None).timesteps is other.timesteps  # none = as they were


def test_a_weighting_that_does_not_weigh_the_base_is_refused(toy: Family) -> None:
    with pytest.raises(UsageError, match=r"CosMap does not weigh the prediction of noise.*Leave weighting out"):
        noising_of(toy, MethodConfig(weighting="cosmap"))


def test_choices_reach_the_loss(toy: Family) -> None:
    """The loss of a step is the mean of the chosen error at the chosen levels by the chosen weight."""
    batch, rng = deal(Rng(0)), Rng(1)
    config = MethodConfig(weighting="p2", loss="huber", timesteps="logit_normal", options={"loss": {"delta": 0.2}})
    toy.noising = noising_of(toy, config)
    total = losses(toy, batch, rng).item()
    t = (TIMESTEPS["logit_normal"]()(rng, 4) * 1000).long()
    noise, a = rng.normal("noise", batch.latents), toy.scheduler.alphas_cumprod[t].double()  # type: ignore[attr-defined]
    x_t = a.sqrt().view(-1, 1, 1, 1).float() * batch.latents + (1 - a).sqrt().view(-1, 1, 1, 1).float() * noise
    with torch.no_grad():
        difference = (toy.predict(x_t, t, toy.embed(batch.prompts)) - noise).abs()
    error = torch.where(difference <= 0.2, difference**2, 0.4 * difference - 0.04).flatten(1).mean(1)
    weight = 1 / (1 + a / (1 - a))
    assert total == pytest.approx(float((0.5 * weight * error).sum()), rel=1e-4)


def test_a_penalty_is_part_of_the_loss_and_of_the_gradient(toy: Family) -> None:
    """A method adds it to its loss without the loop knowing."""
    plain = make_method("lora")
    update = attach(toy, plain.plan()[0])
    without = steps(toy, update, 0, 1)[0].loss
    plain.detach(toy)

    method = make_method("lora", accumulate=1)
    groups = method.attach(toy, 0)
    (adapter,) = groups
    pulled = next(p for name, p in adapter.parameters.items() if "lora_A" in name)
    start = pulled.detach().clone()
    update = Update(groups, method.config, penalty=lambda: 3.0 * pulled.square().sum())
    (step,) = steps(toy, update, 0, 1)
    assert step.loss == pytest.approx(without + 3.0 * float(start.square().sum()), rel=1e-5)
    # B is zero at the start: no gradient but the penalty's reaches A, and AdamW goes against its sign.
    moved = pulled.detach() - start * (1 - adapter.learning_rate * adapter.weight_decay)
    assert torch.equal(moved.sign(), -start.sign())


def test_a_penalty_counts_once_a_step_however_many_micro_batches_there_are() -> None:
    p = nn.Parameter(torch.tensor([2.0]))
    from booth.core.method import ParameterGroup

    group = ParameterGroup("p", {"p": p}, 1e-2)
    update = Update([group], MethodConfig(accumulate=4), penalty=lambda: p.square().sum())
    for _ in range(4):
        update.backward(update.penalised(torch.zeros(())) / update.accumulate)
    assert p.grad is not None
    assert float(p.grad) == pytest.approx(4.0)
