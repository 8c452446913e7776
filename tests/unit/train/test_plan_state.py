"""A plan under way: stages open, close, freeze, and leave the base as it was."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import KINDS
from torch import Tensor

from booth.core.errors import NotFiniteError
from booth.core.family import Family
from booth.registry import METHODS
from booth.train.checkpoints import Checkpoint
from booth.train.loop import training_steps
from booth.train.plan_state import PlanState
from harness import deal, make_method, tensors


def begin(model: Family, method: str = "two_stage", seed: int = 0, **settings: Any) -> PlanState:
    short = {"token_steps": 2} if method == "two_stage" else {}
    return PlanState(model, make_method(method, **(short | {"steps": 3} | settings)).plan(), seed)


def learn(stages: PlanState, count: int) -> None:
    update = stages.open()
    for step in training_steps(
        stages.model, deal, update, seed=stages.seed, start=stages.step, stop=stages.step + count
    ):
        stages.step = step.index


def checkpoint(stages: PlanState) -> Checkpoint:
    state, values = stages.state()
    return Checkpoint(Path(), stages.done, {n: t.clone() for n, t in state.items()}, json.loads(json.dumps(values)))


def live(model: Family) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in tensors(model).items()}


def test_steps_are_counted_over_the_whole_plan(toy: Family) -> None:
    stages = begin(toy)
    assert (stages.total, stages.done, stages.stage.name) == (5, 0, "token")
    learn(stages, 2)
    assert stages.done == 2
    stages.close()
    assert (stages.done, stages.index, stages.step, stages.stage.name) == (2, 1, 0, "denoiser")
    learn(stages, 3)
    stages.close()
    assert (stages.done, stages.index) == (5, 2)


def test_no_two_stages_draw_the_same_noise(toy: Family) -> None:
    stages, other = begin(toy), begin(toy, seed=1)
    first = stages.seed
    stages.index = 1
    assert len({first, stages.seed, other.seed}) == 3


def test_a_finished_stage_is_frozen_and_stays_attached(toy: Family) -> None:
    stages = begin(toy)
    learn(stages, 2)
    rows = stages.open().parameters()["text_encoder.rows"]
    stages.close()
    taught = rows.detach().clone()
    learn(stages, 3)
    assert not rows.requires_grad
    assert torch.equal(rows, taught)
    assert "text_encoder.rows" not in stages.open().parameters()
    assert toy.sites.token_tables[0].embedding().rows is rows


@pytest.mark.parametrize("method", METHODS)
def test_embeddings_are_remembered_only_where_no_trainable_tensor_lies_upstream(toy: Family, method: str) -> None:
    stages = begin(toy, method)
    embed, calls = toy.embed_prompts, 0

    def counting(prompts: list[str]) -> Any:
        nonlocal calls
        calls += 1
        return embed(prompts)

    toy.embed_prompts = counting  # type: ignore[method-assign]
    for _ in stages.plan:
        stages.open()
        upstream, calls = any(p.requires_grad for p in toy.components()["text_encoder"].parameters()), 0
        toy.embed(["a photo of sks dog"])
        toy.embed(["a photo of sks dog"])
        assert calls == (2 if upstream else 1)
        stages.close()


def test_a_trained_text_encoder_is_not_remembered(toy: Family) -> None:
    begin(toy, "lora", train_text_encoder=True).open()
    assert toy.embed(["a photo of sks dog"]).tokens.requires_grad


def test_settings_of_a_stage_reach_the_model(toy: Family) -> None:
    begin(toy, "lora", min_snr_gamma=5.0).open()
    assert toy.noising.weighting.gamma == 5.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [{}, {"train_text_encoder": True}])
def test_gradient_checkpointing_recomputes_and_changes_no_gradient(
    toy: Family, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    recomputed = 0
    original = torch.utils.checkpoint.checkpoint

    def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal recomputed
        recomputed += 1
        return original(*arguments, **named)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counting)
    outcome: list[dict[str, Tensor]] = []
    for on in (False, True):
        stages = begin(toy, "lora", gradient_checkpointing=on, **settings)
        learn(stages, 2)
        assert (recomputed > 0) == on
        outcome.append({n: p.detach().clone() for n, p in stages.open().parameters().items()})
        stages.detach()
    for name, tensor in outcome[0].items():
        torch.testing.assert_close(outcome[1][name], tensor)


def test_a_finished_stage_takes_its_moving_average(toy: Family) -> None:
    stages = begin(toy, "lora", ema=0.9)
    learn(stages, 3)
    update = stages.open()
    assert update.ema is not None
    average = copy.deepcopy(update.ema)
    assert any(not torch.equal(p, average[n]) for n, p in update.parameters().items())
    stages.close()
    assert all(torch.equal(p, average[n]) for n, p in update.parameters().items())


def test_a_stage_whose_tensors_are_not_finite_does_not_close(toy: Family) -> None:
    stages = begin(toy, "lora")
    learn(stages, 3)
    next(iter(stages.open().parameters().values())).data[0, 0] = math.nan
    with pytest.raises(NotFiniteError):
        stages.close()
    assert stages.index == 0


@pytest.mark.parametrize("method", KINDS)  # conformance asks it of every method
def test_detached_the_base_is_bit_identical(toy: Family, method: str) -> None:
    before = live(toy)
    stages = begin(toy, method)
    for stage in stages.plan:
        learn(stages, 1)
        stages.step = stage.method.config.steps
        stages.close()
    stages.detach()
    after = live(toy)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert (stages.index, stages.step, stages.update) == (0, 0, None)


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("finish", [False, True])
def test_a_state_is_taken_up_where_it_was_left(toy: Family, toy_base: Path, method: str, finish: bool) -> None:
    stages = begin(toy, method, ema=0.9)
    learn(stages, 2)
    if finish:
        stages.step = stages.stage.method.config.steps
        stages.close()
    saved = checkpoint(stages)
    other = begin(type(toy)(toy_base), method, ema=0.9)
    learn(other, 1)  # it had gone another way
    other.take_up(saved)
    assert (other.index, other.step, other.done) == (stages.index, stages.step, stages.done)
    again = checkpoint(other)
    assert again.values == saved.values
    assert again.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(again.tensors[n], t) for n, t in saved.tensors.items())


def test_no_checkpoint_is_the_start(toy: Family) -> None:
    before = live(toy)
    stages = begin(toy)
    learn(stages, 2)
    stages.take_up(None)
    assert stages.done == 0
    assert all(torch.equal(before[n], t) for n, t in live(toy).items())
