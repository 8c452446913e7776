"""The loop's loss by hand: prior preservation as rows of a batch, micro-batches, and steps that must not count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from booth.choices import noising_of
from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.method import MethodConfig
from booth.core.rng import Rng
from booth.train.loop import compare, losses
from harness import attach, deal, make_method, steps

LAMBDA = 0.7


def batch_with_prior(photos: int, class_pictures: int) -> Batch:
    """Photos and then class pictures: 1/n and lambda/m as the shares of a row."""
    latents = torch.randn(photos + class_pictures, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([1 / photos] * photos + [LAMBDA / max(1, class_pictures)] * class_pictures)
    return Batch(["a photo of sks dog"] * photos + ["a photo of a dog"] * class_pictures, latents, weight)


@pytest.mark.parametrize(("photos", "class_pictures"), [(1, 1), (1, 2), (3, 3), (3, 1)])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_prior_preservation_has_separate_means_and_independent_timesteps(
    toy: Family, photos: int, class_pictures: int, gamma: float | None
):
    """mean over photos of w_t |.|^2 + lambda times the mean over class pictures, with each row's own t and weight.

    The two usual mistakes, one joint mean and the photos weighted by the class pictures' timesteps, give other numbers.
    """
    toy.noising = noising_of(toy, MethodConfig(min_snr_gamma=gamma))
    batch, rng = batch_with_prior(photos, class_pictures), Rng(4)
    total = losses(toy, batch, rng).item()

    noise, u = rng.normal("noise", batch.latents), rng.uniform("timestep", photos + class_pictures)
    errors: list[float] = []
    weights: list[float] = []
    for i, prompt in enumerate(batch.prompts):
        t = int(u[i] * 1000)
        a = float(toy.scheduler.alphas_cumprod[t])
        x_t = a**0.5 * batch.latents[i] + (1 - a) ** 0.5 * noise[i]
        with torch.no_grad():
            predicted = toy.predict(x_t[None], torch.tensor([t]), toy.embed([prompt]))[0]
        errors.append(float((predicted - noise[i]).square().mean()))
        snr = a / (1 - a)
        weights.append(1.0 if gamma is None else min(snr, gamma) / snr)
    weighted = [w * e for w, e in zip(weights, errors, strict=True)]
    instance, prior = weighted[:photos], weighted[photos:]
    assert total == pytest.approx(sum(instance) / photos + LAMBDA * sum(prior) / class_pictures, rel=1e-4)
    assert len({int(v * 1000) for v in u}) == photos + class_pictures  # no two rows share a timestep


def test_compare_weighs_rows_and_averages_within_them():
    prediction, target = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert compare(prediction, target, torch.tensor([0.5, 0.25])) == pytest.approx(0.5 * 1 + 0.25 * 9)
    # Half precision must not overflow in the square.
    assert compare(prediction.half(), 300 * target.half(), torch.tensor([1.0, 0.0])) == pytest.approx(9e4)


def test_micro_batches_add_up_to_their_mean_gradient(toy: Family):
    stage = make_method("lora", accumulate=2, clip=1e9).plan()[0]
    (step,) = steps(toy, attach(toy, stage), 0, 1)
    stage.method.detach(toy)

    update = attach(toy, stage)  # from the same start
    micro = [losses(toy, deal(rng), rng) for rng in (Rng(3, 0, 0), Rng(3, 0, 1))]
    (sum(micro) / 2).backward()
    norm = torch.stack([p.grad.norm() for p in update.parameters().values()]).norm()
    assert step.loss == pytest.approx(sum(m.item() for m in micro) / 2)
    assert step.gradient_norm == pytest.approx(float(norm), rel=1e-5)
    assert micro[0].item() != micro[1].item()


def test_a_mask_weighs_the_places_of_a_row():
    prediction, target = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    target[0, :, 0, 0], target[0, :, 1, 1], target[1] = 2.0, 1.0, 5.0
    mask = torch.ones(2, 1, 2, 2)
    mask[0, 0] = torch.tensor([[3.0, 1.0], [1.0, 0.0]])
    # Row 0: (3 * 4 + 0 * 1) / 4 places, whatever the channels; row 1 is plain.
    assert compare(prediction, target, torch.tensor([1.0, 0.1]), mask) == pytest.approx(3.0 + 2.5)


def test_the_mask_of_a_batch_reaches_the_loss(toy: Family):
    batch = batch_with_prior(2, 0)
    whole = losses(toy, batch, Rng(4))
    assert losses(toy, replace(batch, mask=torch.ones(2, 1, 8, 8)), Rng(4)) == whole
    left, right = torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    left[..., :4], right[..., :4] = 1.0, 0.0
    parts = [losses(toy, replace(batch, mask=m), Rng(4)) for m in (left, right)]
    assert min(parts) > 0
    assert float(parts[0] + parts[1]) == pytest.approx(float(whole), rel=1e-6)
