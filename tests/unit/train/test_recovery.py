"""Not finite: three steps in a row are skipped, then the run goes back with half the rate, twice at most."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lessons import Heard, Lesson, weights
from torch import Tensor

from booth.core.batch import Batch
from booth.core.errors import Interrupted, NotFiniteError
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches
from booth.train import stage_data
from booth.train.distributed import Team
from booth.train.loop import Step
from booth.train.recovery import Recovery
from booth.train.run import train
from booth.train.trainer import Trainer
from booth.train.update import Update
from harness import slow


def step(index: int, updated: bool, loss: float = 1.0) -> Step:
    """`updated` is whether the gradient was finite; the loss may be infinite for itself."""
    return Step(index, 1e-3, 0.1, torch.tensor([loss, 1.0 if updated else math.inf]))


def outcomes(recovery: Recovery, steps: list[Step], loss_scale: float | None = None) -> list[bool]:
    noted: list[bool] = []
    for one in steps:
        recovery.note(one, loss_scale)
        noted.append(recovery.must_return)
    return noted


def test_three_in_a_row_are_forgiven_and_a_fourth_is_not() -> None:
    recovery = Recovery()
    steps = [step(i, updated) for i, updated in enumerate([False] * 3 + [True] + [False] * 4)]
    assert outcomes(recovery, steps) == [False] * 7 + [True]
    assert recovery.skipped == 7


def test_half_precision_may_look_for_its_scale() -> None:
    bad = [step(i, False) for i in range(4)]
    assert outcomes(Recovery(), bad, 2.0**16) == [False] * 4
    assert outcomes(Recovery(), bad, 1.0)[-1], "a scale at its end is no excuse"
    assert outcomes(Recovery(), [step(i, False, math.nan) for i in range(4)], 2.0**16)[-1], "nor is a loss of NaN"


def test_each_return_halves_the_rate_of_its_stage_and_the_third_gives_up() -> None:
    recovery = Recovery()
    assert recovery.go_back("a", 9, 5, NotFiniteError("nan")).rate_scale == 0.5
    assert recovery.go_back("a", 9, 5, NotFiniteError("nan")).rate_scale == 0.25
    assert (recovery.rate_scale("a"), recovery.rate_scale("b")) == (0.25, 1.0)
    with pytest.raises(NotFiniteError, match=r"step 9 of a.*learning_rate"):
        recovery.go_back("a", 9, 5, NotFiniteError("nan"))


def test_its_state_goes_through_json() -> None:
    recovery, other = Recovery(), Recovery()
    outcomes(recovery, [step(i, False) for i in range(3)])
    recovery.go_back("a", 9, 5, NotFiniteError("nan"))
    outcomes(recovery, [step(3, False)])
    other.load_state(json.loads(json.dumps(recovery.state())))
    assert other.state() == recovery.state()
    assert other.returns == recovery.returns


class Poison:
    """Makes the gradient of some steps NaN, at those learning rates that `applies` names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: set[int], applies: Callable[[float], bool]) -> None:
        self.rates: list[float] = []
        now = 0

        class Telling(PhotoBatches):
            def __call__(self, rng: Rng) -> Batch:
                nonlocal now
                now = rng.step
                return super().__call__(rng)

        backward = Update.backward

        def poisoned(update: Update, loss: Tensor) -> None:
            self.rates.append(update.rate_scale)
            backward(update, loss * math.nan if now in steps and applies(update.rate_scale) else loss)

        monkeypatch.setattr(stage_data, "PhotoBatches", Telling)
        monkeypatch.setattr(Update, "backward", poisoned)


pytestmark = pytest.mark.usefixtures("no_samples")


def test_a_short_spell_is_skipped(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, {2, 3, 4}, lambda rate: True)
    heard = Heard()
    record = train(lesson(steps=7), listeners=[heard]).record
    assert heard.steps == [1, 2, 3, 4, 5, 6, 7]
    assert record.skipped_steps == 3
    assert record.recoveries == []
    assert record.final_loss is not None


@pytest.mark.essential
def test_a_long_spell_goes_back_to_the_last_checkpoint_with_half_the_rate(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison(monkeypatch, {3, 4, 5, 6}, lambda rate: rate == 1.0)
    heard = Heard()
    record = train(lesson(steps=8, checkpoint_every=3), listeners=[heard]).record
    # The checkpoint after step 6 was saved in the middle of the spell: its weights are those after step 3.
    assert heard.steps == [1, 2, 3, 4, 5, 6, 7, 7, 8]
    assert poison.rates == [1.0] * 7 + [0.5] * 2
    assert [r.model_dump() for r in record.recoveries] == [
        {"stage": "lora", "step": 7, "returned_to": 6, "rate_scale": 0.5}
    ]
    assert record.skipped_steps == 4
    assert any("Going back from step 7 of lora to the checkpoint after 6 steps" in m for m in heard.messages)


def test_without_a_checkpoint_it_goes_back_to_the_start(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, {1, 2, 3, 4}, lambda rate: rate == 1.0)
    heard = Heard()
    config = lesson(steps=6, checkpoint_every=0)
    record = train(config, listeners=[heard]).record
    assert heard.steps == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]
    assert record.recoveries[0].returned_to == 0


def test_after_two_returns_the_run_fails_and_nothing_bad_was_saved(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison = Poison(monkeypatch, set(range(2, 99)), lambda rate: True)
    with pytest.raises(NotFiniteError, match="after 2 returns"):
        train(lesson(steps=20, checkpoint_every=2))
    assert sorted(set(poison.rates), reverse=True) == [1.0, 0.5, 0.25]
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    from booth.train.checkpoints import Checkpoints, require_finite

    kept = Checkpoints(tmp_path / "out.run" / "checkpoints", pytest.fail).latest()
    assert kept is not None
    require_finite(kept.tensors)


def test_weights_that_are_not_finite_are_noticed_when_saving(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite gradient can still carry a weight beyond what a number holds."""
    advance = Update.step

    def overflowing(update: Update, index: int, norm: float) -> None:
        advance(update, index, norm)
        if index == 3 and update.rate_scale == 1.0:
            next(iter(update.parameters().values())).data.fill_(math.inf)

    monkeypatch.setattr(Update, "step", overflowing)
    record = train(lesson(steps=6, checkpoint_every=2)).record
    assert [(r.returned_to, r.rate_scale) for r in record.recoveries] == [(2, 0.5)]


class Follower(Team):
    """The second of two processes of a run, of which the first saves after every step."""

    def agree(self, due: bool) -> bool:
        return True


def test_a_process_that_writes_nothing_goes_back_with_the_one_that_saves(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, heard = Update.step, Heard()

    def overflowing(update: Update, index: int, norm: float) -> None:
        advance(update, index, norm)
        if index == 3 and update.rate_scale == 1.0:
            next(iter(update.parameters().values())).data.fill_(math.inf)

    monkeypatch.setattr(Update, "step", overflowing)
    with Trainer(lesson(steps=6), keep=False, listeners=[heard]) as trainer:
        trainer.share_checkpoints(lambda found: found, Follower(rank=1, size=2))
        assert len(list(trainer)) == 3 + 6
    assert any("is not finite and is not saved" in m and "Going back" in m for m in heard.messages)


@pytest.mark.essential
def test_weights_that_are_not_finite_in_the_end_never_become_a_concept(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    advance = Update.step

    def overflowing(update: Update, index: int, norm: float) -> None:
        advance(update, index, norm)
        if index == 4:
            next(iter(update.parameters().values())).data.fill_(math.nan)

    monkeypatch.setattr(Update, "step", overflowing)
    with pytest.raises(NotFiniteError, match="after 2 returns"):
        train(lesson(steps=5, checkpoint_every=2))
    assert not (tmp_path / "out").exists()


# Steps taken before the stop: where a periodic checkpoint lies, which is where a kill leaves a run, and after the
# return. A stop elsewhere in the spell saves a newer checkpoint, which the return then goes to.
@pytest.mark.essential
@pytest.mark.parametrize("stop_after", [slow(3), 6, slow(9), slow(10), 12])
def test_a_recovered_run_resumes_bit_for_bit(lesson: Lesson, monkeypatch: pytest.MonkeyPatch, stop_after: int) -> None:
    Poison(monkeypatch, {4, 5, 6, 7}, lambda rate: rate == 1.0)
    straight = train(lesson(out="straight", steps=10, checkpoint_every=3))
    assert straight.record.recoveries
    config = lesson(out="stopped", steps=10, checkpoint_every=3)
    with pytest.raises(Interrupted):
        train(config, listeners=[Heard(stop_after)])
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)
    assert resumed.record.recoveries == straight.record.recoveries
