"""Whole runs whose prior is the base's own prediction: when it is asked, and that no stop, bound or shortage shows."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lessons import Heard, Lesson, stop_after, weights

from booth.config import RunConfig
from booth.core.errors import Cancelled, Interrupted, OutOfMemoryError, UsageError
from booth.core.family import Family
from booth.data import own_predictions
from booth.data.own_predictions import Untouched
from booth.events import Event
from booth.families.stable_diffusion import StableDiffusion
from booth.session import Session
from booth.train import estimate as estimating
from booth.train import loop
from booth.train.run import train
from booth.train.setup import make_method
from booth.train.trainer import Trainer
from harness import SUBJECT, slow, tensors

PRIOR: dict[str, Any] = {"prior_weight": 1.0, "prior": "prediction"}
pytestmark = pytest.mark.usefixtures("no_samples")


class Passes(Heard):
    """Counts the passes of each base, and what a run tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.taught: list[int] = []
        self.most = 100  # rows that there is memory for
        predict = StableDiffusion.predict

        def counted(model: Any, x_t: torch.Tensor, *rest: Any) -> torch.Tensor:
            if len(x_t) > self.most:
                raise torch.OutOfMemoryError
            (self.taught if torch.is_grad_enabled() else self.asked).append(len(x_t))
            return predict(model, x_t, *rest)

        monkeypatch.setattr(StableDiffusion, "predict", counted)


@pytest.fixture(autouse=True)
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy is small, and would be asked about several steps in one pass: some tests here have it do so."""
    monkeypatch.setattr(own_predictions, "TOGETHER", 1)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


def ahead(heard: Heard) -> list[tuple[int, int | None]]:
    """What each phase of asking begins with: how far it is, and how far it will go."""
    return [(e.done, e.total) for e in heard.of("phase") if e.phase == "predictions"]


def test_the_first_step_of_a_long_run_waits_for_no_other(lesson: Lesson, passes: Passes) -> None:
    with Trainer(lesson("lora", steps=100_000, **PRIOR), listeners=[passes], keep=False) as trainer:
        next(trainer)
        assert (passes.asked, passes.taught) == ([2], [4])
        next(trainer)
    assert (passes.asked, passes.taught) == ([2, 2], [4, 4])
    assert ahead(passes) == []


@pytest.mark.parametrize("method", ["lora", slow("dreambooth")])
def test_a_small_base_is_asked_about_several_steps_in_one_pass(
    lesson: Lesson, passes: Passes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(lesson(method, "alone", **PRIOR), listeners=[passes])
    assert passes.asked == [2] * 5
    passes.asked = []
    monkeypatch.setattr(own_predictions, "TOGETHER", 8)
    heard = Heard()
    kept = PRIOR | {"keep_checkpoints": 1}
    straight = train(lesson(method, "straight", **kept), listeners=[heard])
    assert passes.asked == [8] * 2, "whole passes, beyond the last step too"
    assert "own_predictions" in straight.record.timings
    assert [e.data["loss"] for e in heard.of("step")] == pytest.approx(
        [e.data["loss"] for e in passes.of("step")], rel=1e-4
    )
    config = lesson(method, "stopped", **kept | {"checkpoint_every": 0})
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(2)])
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder), "within a pass"
    longer = train(lesson(method, "longer", **kept | {"steps": 6}))
    gone_on = train(lesson(method, "straight", **kept | {"steps": 6, "resume": True}))
    assert weights(gone_on.folder) == weights(longer.folder)


def test_what_must_be_asked_ahead_is_asked_in_bounded_chunks(
    lesson: Lesson, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = train(lesson("dreambooth", "at once", **PRIOR), listeners=[passes])
    assert ahead(passes) == [(0, 5)]
    assert "own_predictions" in at_once.record.timings
    monkeypatch.setattr(own_predictions, "AHEAD", 2)
    chunked = Heard()
    concept = train(lesson("dreambooth", "chunked", **PRIOR), listeners=[chunked])
    assert weights(concept.folder) == weights(at_once.folder)
    assert ahead(chunked) == [(0, 2), (0, 2), (0, 1)]
    told = [e for e in chunked.events if e.kind == "step" or (e.kind == "progress" and e.phase == "predictions")]
    assert [e.kind[0] for e in told] == ["p", "p", "s", "s", "p", "p", "s", "s", "p", "s"]
    assert all(e.done < (e.total or 0) for e in told if e.kind == "progress"), "none is done before it is"
    assert all(e.phase == "training" for e in told if e.kind == "step")
    assert [text for text in chunked.messages if "own predictions" in text] == [
        f"Asking the base for its own predictions at {rows} noised photos." for rows in (4, 4, 2)
    ]


@pytest.mark.parametrize("method", ["dreambooth", slow("custom_diffusion"), slow("two_stage")])
def test_a_run_that_is_stopped_within_a_chunk_goes_on_to_the_same(
    lesson: Lesson, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PRIOR | {"accumulate": 2, "checkpoint_every": 0}
    straight = train(lesson(method, "straight", **options))
    monkeypatch.setattr(own_predictions, "AHEAD", 3 * 2)
    config = lesson(method, "stopped", **options)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(straight.record.steps - 3)])
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)


def test_what_is_cancelled_while_it_asks_has_a_checkpoint_of_the_step_it_is_at(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(lesson("dreambooth", "straight", **PRIOR))
    monkeypatch.setattr(own_predictions, "AHEAD", 3)
    config = lesson("dreambooth", "stopped", **PRIOR | {"checkpoint_every": 0})
    with Trainer(config) as trainer:

        def stop(event: Event) -> None:
            if event.kind == "progress" and event.phase == "predictions" and trainer.plan_state.done == 3:
                trainer.cancel.cancel("Enough.")

        trainer._reporter.listeners.append(stop)
        with pytest.raises(Cancelled, match="A checkpoint is saved after 3 of 5 steps"):
            for _ in trainer:
                pass
    heard = Heard()
    resumed = train(config.model_copy(update={"resume": True}), listeners=[heard])
    assert heard.steps == [4, 5]
    assert weights(resumed.folder) == weights(straight.folder)


@pytest.mark.parametrize("method", ["lora", slow("dreambooth")])
def test_out_of_memory_while_it_asks_takes_the_same_ladder(
    lesson: Lesson, passes: Passes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = Heard()
    train(lesson(method, "roomy", **PRIOR), listeners=[roomy])
    monkeypatch.setattr(own_predictions, "AHEAD", 3)
    passes.most = 1
    passes.events, passes.asked, passes.taught = [], [], []
    cramped = train(lesson(method, "cramped", **PRIOR), listeners=[passes])
    assert set(passes.asked) == set(passes.taught) == {1}
    assert [event.data["parts"] for event in passes.of("memory")] == [2, 4]
    assert "Out of memory at step 1" in passes.of("memory")[0].text
    for one, other in zip(passes.of("step"), roomy.of("step"), strict=True):
        assert one.data["loss"] == pytest.approx(other.data["loss"], rel=1e-4)
    config = lesson(method, "stopped", **PRIOR)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(2)])
    heard = Heard()
    resumed = train(config.model_copy(update={"resume": True}), listeners=[heard])
    assert heard.of("memory") == []
    assert weights(resumed.folder) == weights(cramped.folder)
    passes.most = 0
    with pytest.raises(OutOfMemoryError):
        train(lesson(method, "none", **PRIOR))


@pytest.mark.slow
def test_a_shortage_in_the_middle_of_a_chunk_leaves_nothing_that_no_other_run_would_know(
    lesson: Lesson, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that were rounded as on the former rung are asked for again, so that a resumed run has the same."""
    monkeypatch.setattr(own_predictions, "AHEAD", 4)
    options = PRIOR | {"batch_size": 4, "checkpoint_every": 0}

    def shrink(event: Event) -> None:
        passes.most = 1 if event.kind == "step" and event.done == 1 else passes.most

    straight = train(lesson("dreambooth", "straight", **options), listeners=[shrink])
    passes.most = 100
    config = lesson("dreambooth", "stopped", **options)
    with pytest.raises(Interrupted):
        train(config, listeners=[shrink, stop_after(2)])
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)


@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_parts_that_are_let_go_are_not_needed_to_ask(lesson: Lesson, method: str) -> None:
    plain = train(lesson(method, "plain", **PRIOR))
    lean = train(lesson(method, "lean", memory="fp32+freed", **PRIOR))
    assert weights(lean.folder) == weights(plain.folder)


@pytest.mark.parametrize(
    ("method", "together", "seconds"),
    [
        ("lora", 1, 2 + 1),
        ("dreambooth", 1, 2 + 1 + 10 * 5 / 200),
        ("lora", 8, 2 + 1 / 4),
        ("dreambooth", 8, 2 + 1 / 4 + 10 * 5 / 200),
    ],
)
def test_an_estimate_counts_it(
    lesson: Lesson, method: str, together: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of the base that is asked takes a second here, one of a step two, and reading its weights ten."""
    now, predict, recall = [0.0], StableDiffusion.predict, StableDiffusion.recall

    def passing(model: Any, *rest: Any) -> torch.Tensor:
        now[0] += 2.0 if torch.is_grad_enabled() else 1.0
        return predict(model, *rest)

    def reading(model: Any, names: Any = None) -> None:
        now[0] += 10.0 if {*(names or ())} & model.freed & {"unet"} else 0.0
        recall(model, names)

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    for module in (estimating, loop):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(estimating, "seconds_per_picture", lambda model: 0.0)
    monkeypatch.setattr(StableDiffusion, "predict", passing)
    monkeypatch.setattr(StableDiffusion, "recall", reading)
    monkeypatch.setattr(own_predictions, "AHEAD", 40)
    monkeypatch.setattr(own_predictions, "TOGETHER", together)
    with Trainer(lesson(method, steps=200, **PRIOR), keep=False) as trainer:
        found = trainer.estimate()
    assert found.train_seconds == pytest.approx(200 * seconds)
    assert found.class_seconds == 0


def test_the_text_encoder_is_asked_once(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the class prompt, and before anything is attached to it; it is not there any more when it is trained."""
    counted = itertools.count()
    embed = StableDiffusion.embed_prompts
    made: list[Untouched] = []
    begin = Untouched.__init__

    def seen(self: Untouched, *rest: Any) -> None:
        begin(self, *rest)
        made.append(self)

    def counting(model: Any, prompts: list[str]) -> Any:
        if made and model is made[0]._model:
            next(counted)
        return embed(model, prompts)

    monkeypatch.setattr(Untouched, "__init__", seen)
    monkeypatch.setattr(StableDiffusion, "embed_prompts", counting)
    train(lesson("dreambooth", train_text_encoder=True, **PRIOR))
    (untouched,) = made
    assert next(counted) == 0
    assert untouched._model.freed == {"vae", "text_encoder", "unet"}


@pytest.mark.essential
def test_the_base_is_as_it_was(lesson: Lesson, toy_base: Path) -> None:
    with Session(str(toy_base)) as session, session.model() as model:
        before = {name: t.clone() for name, t in tensors(model).items()}
        for method in ("dreambooth", "lora"):
            train(lesson(method, method, **PRIOR), session=session, samples=False)
        after = tensors(model)
    assert session.loads == 1
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], t) for name, t in before.items())


def test_no_default_asks_a_family_that_cannot_be_asked(toy: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    config, subject = RunConfig(photos=[Path("photos")], noun="dog"), SUBJECT
    assert make_method(config, toy, subject).config.asks_base
    monkeypatch.setattr(type(toy), "twin", Family.twin)
    assert not make_method(config, toy, subject).config.asks_base
    chosen = config.model_copy(update={"settings": {"prior": "prediction", "prior_weight": 1.0}})
    method = make_method(chosen, toy, subject)
    assert method.config.asks_base
    with pytest.raises(UsageError, match=r"has no twins.*Set prior=pictures"):
        Untouched(toy, method.prompts())
