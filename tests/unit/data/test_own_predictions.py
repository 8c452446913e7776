"""Prior preservation from the base's own predictions: what they are, when they are asked, and that they pull back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from photo_files import picture

from booth.core.batch import Batch
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.noising import Epsilon
from booth.core.rng import Rng
from booth.data import own_predictions
from booth.data.batches import PhotoBatches, TrainingSubject
from booth.data.own_predictions import OwnPredictions, Untouched
from booth.data.photos import Photo, PhotoSet
from booth.train.loop import losses
from booth.train.weightings.min_snr import MinSNR
from harness import attach, make_method, steps

RNGS = [Rng(3, step) for step in range(4)]


def batches_of(model: Family, prior_weight: float = 0.5) -> PhotoBatches:
    photos = tuple(Photo(Path(f"{i}"), f"{i}", picture(i)) for i in range(3))
    lesson = TrainingSubject(Subject("sks", "dog"), PhotoSet(photos, ""), ["a photo of sks dog"], "a photo of a dog")
    return PhotoBatches(model, [lesson], batch_size=2, prior_weight=prior_weight, prior="prediction")


@pytest.fixture(autouse=True)
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy is small, and would be asked about several steps in one pass: some tests here have it do so."""
    monkeypatch.setattr(own_predictions, "TOGETHER", 1)


@pytest.fixture
def untouched(toy: Family) -> Untouched:
    return Untouched(toy, ["a photo of a dog"])


@pytest.fixture
def asked(toy: Family, untouched: Untouched) -> OwnPredictions:
    return OwnPredictions(batches_of(toy), untouched, toy.make_noising())


@pytest.fixture
def rows(toy: Family, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass through the denoiser has had, whichever base it is of."""
    made: list[int] = []
    kind = type(toy)
    predict = kind.predict
    monkeypatch.setattr(kind, "predict", lambda self, x_t, *rest: made.append(len(x_t)) or predict(self, x_t, *rest))
    return made


def test_class_rows_show_the_photos_and_ask_with_the_class_prompt(toy: Family) -> None:
    batch = batches_of(toy)(RNGS[0])
    assert batch.prompts == ["a photo of sks dog"] * 2 + ["a photo of a dog"] * 2
    assert batch.weight.tolist() == [0.5, 0.5, 0.25, 0.25]
    assert batch.target is None
    assert torch.allclose(batch.latents[:2], batch.latents[2:], atol=5.0)
    assert not torch.equal(batch.latents[:2], batch.latents[2:]), "each row draws its own latent"


def test_the_target_is_what_the_denoiser_of_diffusers_predicts_at_that_noise(
    toy: Family, asked: OwnPredictions
) -> None:
    rng = RNGS[1]
    batch = asked(rng)
    noise, u = rng.normal("noise", batch.latents), rng.uniform("timestep", 4)
    t = (u * 1000).long()[2:]
    a = toy.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * batch.latents[2:] + (1 - a).sqrt() * noise[2:]
    ids = toy.tokenizer(["a photo of a dog"] * 2, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        words = toy.components()["text_encoder"](ids)[0]
        expected = toy.components()["unet"](x_t, t, encoder_hidden_states=words).sample
    assert batch.target is not None
    assert torch.allclose(batch.target, expected, atol=1e-5)
    noised = batch.noised(toy.noising, rng)
    assert torch.equal(noised.target[2:], batch.target)
    assert torch.equal(noised.target[:2], noise[:2])
    assert torch.equal(noised.x_t, toy.noising.sample(batch.latents, rng).x_t)


def test_a_batch_without_targets_is_noised_as_the_noising_says(toy: Family) -> None:
    batch, rng = batches_of(toy)(RNGS[0]), RNGS[0]
    noising = Epsilon(toy.scheduler.alphas_cumprod, MinSNR())
    drawn, expected = batch.noised(noising, rng), noising.sample(batch.latents, rng)
    for name in ("x_t", "t", "target", "weight"):
        assert torch.equal(getattr(drawn, name), getattr(expected, name))


@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_the_loss_of_class_rows_starts_at_nought_and_pulls_back(
    toy: Family, untouched: Untouched, asked: OwnPredictions, method: str
) -> None:
    update = attach(toy, make_method(method, learning_rate=1e-2, prior_weight=0.5).plan()[0])
    untouched.leave(update.parameters().values())

    def class_loss(rng: Rng) -> torch.Tensor:
        batch = asked(rng)
        only = replace(batch, weight=batch.weight * torch.tensor([0.0, 0.0, 1.0, 1.0]))
        return losses(toy, only, rng)

    class_loss(RNGS[2]).backward()
    assert class_loss(RNGS[2]).item() < 1e-9
    assert max(float(p.grad.abs().max()) for p in update.parameters().values() if p.grad is not None) < 1e-4
    update.clear()
    before = asked(RNGS[3]).target
    steps(toy, update, 0, 3, deal=asked)
    moved = class_loss(RNGS[2]).item()
    assert moved > 1e-5
    assert torch.equal(asked(RNGS[3]).target, before), "the base answers as before"
    for _ in range(10):
        class_loss(RNGS[2]).backward()
        update.step(0, update.gradient_norm())
        update.clear()
    assert class_loss(RNGS[2]).item() < 0.8 * moved


def test_a_step_asks_for_its_own_rows_once(asked: OwnPredictions, rows: list[int]) -> None:
    answers = [asked(RNGS[0]).target, asked(RNGS[0]).target, asked(Rng(3, 0, 1)).target, asked(RNGS[0]).target]
    assert rows == [2, 2]
    assert all(torch.equal(answers[0], answers[i]) for i in (1, 3))
    asked(RNGS[1])
    asked(RNGS[0])  # as a run does that goes back
    assert rows == [2] * 4
    assert asked.due(RNGS[0], 4, 1) == []


def test_what_is_known_is_not_asked_again(asked: OwnPredictions, rows: list[int]) -> None:
    asked.ask(RNGS)
    asked.ask([*RNGS, Rng(3, 4)])
    assert rows == [2] * 5
    given = [asked(rng).target for rng in RNGS]
    assert rows == [2] * 5
    asked.parts = 4
    assert all(torch.allclose(asked(rng).target, t, atol=1e-5) for rng, t in zip(RNGS, given))
    assert rows == [2] * 5 + [1] * 8, "no more rows at once than a step computes"


def test_a_small_base_is_asked_about_steps_side_by_side(
    toy: Family, untouched: Untouched, asked: OwnPredictions, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [asked(rng).target for rng in RNGS]
    monkeypatch.setattr(own_predictions, "TOGETHER", 4)
    several = OwnPredictions(asked.batches, untouched, toy.make_noising())
    rows.clear()
    together = [several(rng).target for rng in RNGS]
    assert rows == [4, 4], "two steps at two rows each"
    assert all(torch.allclose(a, t, atol=1e-5) for a, t in zip(alone, together, strict=True))
    later = OwnPredictions(asked.batches, untouched, toy.make_noising())
    assert torch.equal(later(RNGS[3]).target, together[3]), "wherever a run goes on"
    assert later.due(RNGS[3], 4, 1) == []
    assert later.due(RNGS[0], 4, 2) == [Rng(3, step, micro) for step in (0, 1) for micro in (0, 1)]
    assert later.due(Rng(3, 5), 6, 1) == [Rng(3, 4), Rng(3, 5)], "what was asked about with it before"
    assert later.due(Rng(3, 6), 6, 1) == []
    later.parts = 2
    assert later.due(RNGS[0], 4, 1) == [], "as few rows as a step computes, then"
    rows.clear()
    assert torch.allclose(later(RNGS[2]).target, together[2], atol=1e-5)
    assert rows == [2]


def test_steps_of_other_shapes_are_asked_about_apart(
    toy: Family, untouched: Untouched, asked: OwnPredictions, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt = asked.batches

    class Buckets:
        batch_size = 2

        def __call__(self, rng: Rng) -> Batch:
            batch = dealt(rng)
            return replace(batch, latents=batch.latents[..., :4]) if rng.step % 2 else batch

    expected = [OwnPredictions(Buckets(), untouched, toy.make_noising())(rng).target for rng in RNGS]
    rows.clear()
    monkeypatch.setattr(own_predictions, "TOGETHER", 8)
    several = OwnPredictions(Buckets(), untouched, toy.make_noising())
    found = [several(rng).target for rng in RNGS]
    assert rows == [4, 4]
    assert all(torch.allclose(a, t, atol=1e-5) for a, t in zip(expected, found, strict=True))


def test_a_base_that_is_not_small_is_asked_step_by_step(
    toy: Family, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_predictions, "TOGETHER", 8)
    monkeypatch.setattr(type(toy), "pack_layers", Family.pack_layers)
    asked = OwnPredictions(batches_of(toy), Untouched(toy, ["a photo of a dog"]), toy.make_noising())
    assert asked.due(RNGS[0], 4, 1) == []
    asked(RNGS[0])
    assert rows == [2]


def test_the_weights_that_are_not_trained_are_held_once(toy: Family, untouched: Untouched) -> None:
    twin = untouched._model
    assert twin.freed == {"vae", "text_encoder"}
    unet = toy.components()["unet"]
    update = attach(toy, make_method("lora").plan()[0])
    untouched.leave(update.parameters().values())
    assert untouched.shares_weights
    held = {id(p) for p in unet.parameters()}
    assert all(id(p) in held for p in twin.components()["unet"].parameters())


@pytest.mark.parametrize("method", ["dreambooth", "custom_diffusion"])
def test_those_that_are_trained_are_read_to_be_asked_and_let_go(
    toy: Family, untouched: Untouched, asked: OwnPredictions, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [asked(rng).target for rng in RNGS]
    update = attach(toy, make_method(method, learning_rate=1e-2).plan()[0])
    untouched.leave(update.parameters().values())
    assert not untouched.shares_weights
    steps(toy, update, 0, 2, deal=asked)
    network = untouched._model.components()["unet"]
    assert all(p.is_meta for p in network.parameters())
    with untouched.at_hand():
        before = {id(p) for p in toy.components()["unet"].parameters()}
        assert not any(p.is_meta or id(p) in before for p in network.parameters())
    assert all(p.is_meta for p in network.parameters())
    assert not any("forward" in vars(layer) for layer in network.modules()), "nothing laid out stays either"
    own = OwnPredictions(asked.batches, untouched, toy.noising)
    monkeypatch.setattr(own_predictions, "AHEAD", 3)
    assert own.due(RNGS[0], 4, 1) == RNGS[:3]
    assert own.due(RNGS[2], 4, 1) == RNGS[2:]
    assert own.due(Rng(3, 4), 4, 1) == []
    assert own.due(RNGS[0], 4, 2) == [Rng(3, 0, 0), Rng(3, 0, 1)], "whole steps"
    assert own.due(RNGS[0], 4, 8) == [Rng(3, 0, micro) for micro in range(8)], "one at the least"
    row = 4 * 8 * 8 * 4
    monkeypatch.setattr(own_predictions, "AHEAD_BYTES", 2 * 2 * row)
    assert own.due(RNGS[0], 4, 1) == RNGS[:2]
    own.ask(RNGS[:2])
    assert own.due(RNGS[0], 4, 1) == []
    assert own.due(RNGS[2], 4, 1) == RNGS[2:]
    assert all(torch.equal(own(rng).target, t) for rng, t in zip(RNGS, expected))


def test_only_the_bare_base_is_asked(toy: Family) -> None:
    attach(toy, make_method("lora").plan()[0])
    with pytest.raises(ValueError, match="before a method is attached"):
        Untouched(toy, ["a photo of a dog"])


def test_a_family_without_twins_says_what_to_do(toy: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(toy), "twin", Family.twin)
    with pytest.raises(UsageError, match="prior=pictures") as raised:
        Untouched(toy, ["a photo of a dog"])
    assert raised.value.field == "settings.prior"
