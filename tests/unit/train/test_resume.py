"""Stopped after any step and resumed, once or again and again, a run ends bit-identical to one never stopped."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from lessons import KINDS, Heard, Lesson, Taught, stop_after, weights

from booth.concept import Concept
from booth.core.errors import Interrupted, NotFiniteError
from booth.events import Event
from booth.registry import METHODS
from booth.train.plan_state import PlanState
from booth.train.run import train
from booth.train.update import Update
from harness import slow

pytestmark = pytest.mark.usefixtures("no_samples")

# The methods whose state is of a kind that one of KINDS has, and those settings whose state is easily forgotten.
OTHERS: list[Any] = [
    *(slow(name, {}) for name in METHODS if name not in KINDS),
    ("lora", {"dropout": 0.5, "train_text_encoder": True}),
    ("lora", {"optimizer": "prodigy", "schedule": "cosine", "warmup": 2, "ema": 0.9, "accumulate": 2}),
    ("dreambooth", {"prior_weight": 1.0, "prior": "prediction"}),
    ("lora", {"prior_weight": 1.0, "prior": "prediction", "train_text_encoder": True, "accumulate": 2}),
    ("two_stage", {"second": "lora", "ema": 0.9, "min_snr_gamma": 5.0}),
]
QUICKER = {"dreambooth", "lora", "textual_inversion", "pivotal_tuning"}  # two_stage's state has all that theirs have


def outcome(concept: Concept) -> tuple[dict[str, str], list[float | None]]:
    return weights(concept.folder), [stage.final_loss for stage in concept.record.stages]


@pytest.mark.parametrize("method", [slow(kind) if kind in QUICKER else kind for kind in KINDS])
def test_stopped_after_every_step(lesson: Lesson, taught: Taught, tmp_path: Path, method: str) -> None:
    """One run is stopped after each step in turn, and from each stop a copy of its folder goes on to the end."""
    straight = taught(method)
    config, run, aside = lesson(method, "stopped"), tmp_path / "stopped.run", tmp_path / "aside"
    resumed = config.model_copy(update={"resume": True})
    for k in range(1, straight.record.steps + 1):
        with pytest.raises(Interrupted, match=f"after {k} of {straight.record.steps} steps.*`resume`"):
            train(config if k == 1 else resumed, listeners=[stop_after(k)])
        shutil.copytree(run, aside)
        concept = train(resumed)
        assert outcome(concept) == outcome(straight), f"stopped after step {k}"
        shutil.rmtree(concept.folder)
        aside.rename(run)


@pytest.mark.essential
@pytest.mark.parametrize(("method", "settings"), OTHERS)
def test_stopped_twice(lesson: Lesson, taught: Taught, method: str, settings: dict[str, Any]) -> None:
    """Before the first periodic checkpoint, and after one; a plan of two stages also where the second begins."""
    straight = taught(method, **settings)
    config = lesson(method, "stopped", **settings)
    for k in (1, 3):
        with pytest.raises(Interrupted):
            train(config.model_copy(update={"resume": k > 1}), listeners=[stop_after(k)])
    assert outcome(train(config.model_copy(update={"resume": True}))) == outcome(straight)


def test_a_stop_without_periodic_checkpoints_saves_too(lesson: Lesson, taught: Taught) -> None:
    straight = taught("lora")
    config = lesson("lora", "stopped", checkpoint_every=0)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(3)])
    assert outcome(train(config.model_copy(update={"resume": True}))) == outcome(straight)


def test_interrupted_within_a_step_the_last_checkpoint_is_kept(
    lesson: Lesson, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    straight = taught()
    config, whole = lesson(out="stopped"), Update.step

    def interrupted(update: Update, index: int, norm: float) -> None:
        whole(update, index, norm)
        if index == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Update, "step", interrupted)
    with pytest.raises(Interrupted, match=r"last good checkpoint is kept.*`resume`"):
        train(config)
    monkeypatch.setattr(Update, "step", whole)
    assert [p.name for p in (tmp_path / "stopped.run" / "checkpoints").iterdir()] == ["ckpt-000002"]
    assert outcome(train(config.model_copy(update={"resume": True}))) == outcome(straight)


def test_interrupted_on_the_way_back_no_checkpoint_is_lost(
    lesson: Lesson, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    straight = taught()
    config, take_up = lesson(out="stopped"), PlanState.take_up

    def not_finite(event: Event) -> None:
        if event.kind == "step" and event.done == 3:
            monkeypatch.setattr(PlanState, "take_up", interrupted)
            raise NotFiniteError("It came to nothing.")

    def interrupted(*_: object) -> None:
        raise Interrupted("Stopped by the test.")

    with pytest.raises(Interrupted, match="last good checkpoint is kept"):
        train(config, listeners=[not_finite])
    monkeypatch.setattr(PlanState, "take_up", take_up)
    assert [p.name for p in (tmp_path / "stopped.run" / "checkpoints").iterdir()] == ["ckpt-000002"]
    assert outcome(train(config.model_copy(update={"resume": True}))) == outcome(straight)


def test_a_signal_at_the_last_step_is_heard(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    close = PlanState.close

    def signalled(stages: PlanState) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        close(stages)

    monkeypatch.setattr(PlanState, "close", signalled)
    config = lesson()
    with pytest.raises(Interrupted, match=r"SIGTERM.*after 5 of 5 steps.*`resume`"):
        train(config)


def test_different_seeds_end_differently(taught: Taught) -> None:
    """Otherwise the equalities above would say nothing."""
    assert outcome(taught()) != outcome(taught(seed=1))


@pytest.mark.essential
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    lesson: Lesson, taught: Taught, tmp_path: Path
) -> None:
    straight = taught()
    config = lesson(out="damaged")
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(4)])
    newest = tmp_path / "damaged.run" / "checkpoints" / "ckpt-000004" / "state.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    heard = Heard()
    resumed = train(config.model_copy(update={"resume": True}), listeners=[heard])
    assert outcome(resumed) == outcome(straight)
    assert any("ckpt-000004 is damaged" in text and "state.safetensors" in text for text in heard.messages)
    assert heard.of("plan")[0].done == 2
