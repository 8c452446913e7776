"""What a run will cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lessons import Heard, Lesson

from booth.core.family import Family
from booth.core.words import duration
from booth.events import Reporter
from booth.session import Session
from booth.train import estimate as estimating
from booth.train.estimate import Speed, StageEstimate
from booth.train.plan_state import PlanState
from booth.train.run import train
from booth.train.trainer import Trainer
from booth.train.update import Update
from harness import tensors


@pytest.mark.parametrize("method", ["lora", "two_stage"])
def test_an_estimate_leaves_the_base_as_it_was_and_knows_the_size(
    lesson: Lesson, toy_base: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "seconds_per_picture", lambda model: 2.0)
    with Session(str(toy_base)) as session, session.model() as toy:
        before = {name: t.clone() for name, t in tensors(toy).items()}
        with Trainer(lesson(method, steps=500), session=session, keep=False) as trainer:
            found = trainer.estimate()
            assert not trainer.plan_state.done
            after = tensors(toy)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert found.seconds == pytest.approx(found.train_seconds + 4 * 2.0)
    assert found.plus_minus >= 0.05
    real = train(lesson(method, steps=2)).record
    assert found.artifact_bytes == pytest.approx(real.artifact_bytes, rel=0.02)
    assert found.peak_memory_bytes > 10**7


def test_class_pictures_are_part_of_the_price(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "seconds_per_picture", lambda model: 3.0)
    with Trainer(lesson("dreambooth", class_pictures=7, prior_weight=1.0), keep=False) as trainer:
        found = trainer.estimate()
    assert found.seconds == pytest.approx(found.train_seconds + 11 * 3.0)
    assert found.class_seconds == 7 * 3.0


def test_the_plan_that_is_estimated_is_the_one_that_is_trained(
    lesson: Lesson, five_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every subject, the tensors it starts from and the plan for memory included."""
    opened: list[PlanState] = []
    attach = PlanState.open

    def seen(state: PlanState) -> Update:
        opened.append(state)
        return attach(state)

    monkeypatch.setattr(PlanState, "open", seen)
    monkeypatch.setattr(estimating, "seconds_per_picture", lambda model: 1.0)
    other = {"photos": [five_photos], "token": "zwx", "noun": "cat"}
    with Trainer(lesson("ti_lora", also=[other], memory="bf16+freed+checkpointing"), keep=False) as trainer:
        trainer.estimate()
        assert {id(state) for state in opened} == {id(trainer.plan_state)}
        assert trainer.plan[0].method.config.gradient_checkpointing
        assert {s.token for s in trainer.plan[0].method.subject.all} == {"sks", "zwx"}


def test_speed_is_the_mean_with_its_standard_error() -> None:
    assert Speed.of([1.0, 2.0, 3.0]) == Speed(2.0, pytest.approx(1 / 3**0.5))
    assert Speed.of([4.0]) == Speed(4.0, 0.0)


def test_the_log_says_what_was_estimated_and_how_it_was_kept() -> None:
    estimated = StageEstimate()
    heard = Heard()
    reporter = Reporter([heard])
    for i in range(10):
        assert heard.events == []
        estimated.note("lora", 2.0 if i == 0 else 1.0, 100 - i - 1, reporter)
    (told,) = heard.of("estimate")
    assert told.text == "100 steps of lora will take 1 min 41 s ± 5%."
    assert (told.data["stage"], told.data["seconds"]) == ("lora", pytest.approx(101))
    for i in range(10, 99):
        estimated.note("lora", 1.0, 100 - i - 1, reporter)
    estimated.note("lora", 11.1, 0, reporter)
    assert heard.messages == [told.text, "lora took 1 min 51 s, +10% against the estimate."]
    for i in range(20):
        estimated.note("short", 1.0, 20 - i - 1, reporter)
    assert len(heard.messages) == 2


def test_durations_are_said_as_people_do() -> None:
    assert [duration(s) for s in (8.4, 59.6, 110, 3725)] == ["8 s", "1 min 00 s", "1 min 50 s", "1 h 02 min"]


def test_the_first_picture_is_thrown_away(toy: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded for it alone is no part of the price; what belongs to no step is paid once."""
    now, loading = [0.0], iter([56.0, 0.0, 0.0])

    def draw(_: Family, prompts: list[str], seeds: list[int], *, steps: int) -> None:
        assert len(prompts) == len(seeds) == 2
        now[0] += next(loading) + 1.0 + 0.1 * steps

    monkeypatch.setattr(estimating, "draw", draw)
    monkeypatch.setattr(estimating.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(estimating, "drawn_at_once", lambda model, count: 2)
    taken = estimating.seconds_per_picture(toy)
    assert taken == pytest.approx((1.0 + 0.1 * estimating.STEPS) / 2), "of two side by side"
