"""The two-stage plan: which stage gets which setting, and what stays frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from booth.core.errors import UsageError
from booth.core.family import Family
from harness import PROMPT, attach, freeze, make_method, steps, train, write


@pytest.mark.parametrize(("second", "method", "rate"), [("full", "dreambooth", 3e-5), ("lora", "lora", 4e-4)])
def test_each_stage_gets_its_own_settings(second: str, method: str, rate: float):
    plan = make_method(
        "two_stage",
        second=second,
        token_steps=7,
        token_learning_rate=2e-3,
        token_batch_size=3,
        vectors=2,
        init_word="cat",
        keep_norm=False,
        steps=9,
        learning_rate=3e-5,
        lora_learning_rate=4e-4,
        batch_size=5,
        rank=6,
        alpha=3.0,
        ema=0.9,
        min_snr_gamma=5.0,
    ).plan()
    assert [(s.name, s.method.name) for s in plan] == [("token", "textual_inversion"), ("denoiser", method)]
    token, denoiser = (s.method.config for s in plan)
    assert (token.steps, token.learning_rate, token.batch_size) == (7, 2e-3, 3)
    assert (token.vectors, token.init_word, token.keep_norm) == (2, "cat", False)
    assert (denoiser.steps, denoiser.learning_rate, denoiser.batch_size) == (9, rate, 5)
    assert token.ema == denoiser.ema == 0.9
    assert token.min_snr_gamma == denoiser.min_snr_gamma == 5.0
    if second == "lora":
        assert (denoiser.rank, denoiser.alpha) == (6, 3.0)


def test_no_stage_uses_a_prior_unless_asked():
    for scale in ("tiny", "full"):
        assert make_method("two_stage").defaults(scale)["prior_weight"] == 0.0
    token, denoiser = make_method("two_stage", prior_weight=0.7).plan()
    assert (token.method.config.prior_weight, denoiser.method.config.prior_weight) == (0.0, 0.7)
    assert make_method("two_stage").plan()[1].method.config.prior_weight == 0.0


def test_both_stages_teach_the_one_prompt_with_the_noun_kept():
    assert [s.method.prompts() for s in make_method("two_stage").plan()] == [[PROMPT], [PROMPT]]


@pytest.mark.parametrize("second", ["full", "lora"])
def test_token_and_text_encoder_are_frozen_in_the_second_stage(toy: Family, second: str):
    token, denoiser = make_method("two_stage", second=second).plan()
    update = attach(toy, token)
    assert list(update.parameters()) == ["text_encoder.rows"]
    steps(toy, update, 0, 3)
    freeze(update.groups)
    kept = {n: t.clone() for n, t in toy.components()["text_encoder"].state_dict().items()}
    update = attach(toy, denoiser)
    assert not toy.trainable_in("text_encoder")
    steps(toy, update, 0, 3)
    after = toy.components()["text_encoder"].state_dict()
    assert all(torch.equal(after[n], t) for n, t in kept.items())


@pytest.mark.parametrize(("second", "weights"), [("full", "unet"), ("lora", "pytorch_lora_weights.safetensors")])
def test_one_concept_holds_both_artefacts(toy: Family, tmp_path: Path, second: str, weights: str):
    method = make_method("two_stage", second=second)
    train(toy, method, 1)
    folder = write(toy, method, tmp_path / "concept")
    assert (folder / "learned_embeds.safetensors").is_file()
    assert (folder / weights).exists()


def test_the_second_stage_can_be_attached_at_once_with_the_token_frozen(toy: Family):
    method = make_method("two_stage")
    groups = method.attach(toy, 0)
    assert [g.name for g in groups] == ["unet"]
    assert not toy.trainable_in("text_encoder")
    method.detach(toy)
    assert not toy.trainable_in("unet")


def test_strength_is_that_of_the_second_stage(toy: Family, tmp_path: Path):
    method = make_method("two_stage", second="lora")
    train(toy, method, 1)
    method.set_strength(0.5)
    with pytest.raises(UsageError, match="no strength"):
        make_method("two_stage", second="full").set_strength(0.5)
    assert method.has_strength
    assert not make_method("two_stage", second="full").has_strength
