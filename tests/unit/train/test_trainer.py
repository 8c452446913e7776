"""The trainer: whoever holds it owns the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import STEPS, Heard, Lesson, Taught, weights

from booth.core.cancel import CancelToken
from booth.core.errors import Cancelled, UsageError
from booth.core.family import Family
from booth.events import Event
from booth.families.loading import load_family
from booth.session import Session
from booth.train import samples
from booth.train.run import train
from booth.train.trainer import Trainer
from harness import slow, tensors

pytestmark = pytest.mark.usefixtures("no_samples")


def is_bare(model: Family, base: Path) -> bool:
    """Whether nothing of a base differs from what its files hold."""
    fresh, now = tensors(load_family(str(base))), tensors(model)
    return fresh.keys() == now.keys() and all(torch.equal(fresh[name], now[name]) for name in fresh)


def test_a_loop_of_ones_own_ends_as_a_run_does(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    with Trainer(lesson("two_stage")) as trainer:
        assert [stage.name for stage in trainer.plan] == ["token", "denoiser"]
        indices = [step.index for step in trainer]
        assert list(trainer) == []  # there are no more
        concept = trainer.finish()
    assert indices == [1, 2, 3, 1, 2, 3, 4, 5]
    assert weights(concept.folder) == weights(taught("two_stage").folder)
    assert not (tmp_path / "out.run").exists()


def test_to_stop_is_to_stop_iterating_and_to_iterate_again_goes_on(lesson: Lesson, taught: Taught) -> None:
    straight = taught()
    trainer = Trainer(lesson())
    for step in trainer:
        if step.index == 2:
            break
    assert trainer.plan_state.step == 2
    assert [step.index for step in trainer] == [3, 4, 5]
    assert weights(trainer.finish().folder) == weights(straight.folder)


def test_closed_early_it_keeps_a_checkpoint_and_the_base(
    lesson: Lesson, taught: Taught, toy_base: Path, tmp_path: Path
) -> None:
    with Session(str(toy_base)) as session:
        with Trainer(lesson(checkpoint_every=0), session=session) as trainer:
            next(trainer)
            next(trainer)
        with session.model() as model:
            assert is_bare(model, toy_base)
        assert (tmp_path / "out.run" / "checkpoints" / "ckpt-000002").is_dir()
        with pytest.raises(UsageError, match="closed"):
            next(trainer)
        with Trainer(lesson(checkpoint_every=0, resume=True), session=session) as again:
            assert [step.index for step in again] == [3, 4, 5]
            concept = again.finish()
    assert session.loads == 1
    assert weights(concept.folder) == weights(taught().folder)


def test_closed_before_its_first_step_it_leaves_nothing(lesson: Lesson, tmp_path: Path) -> None:
    with Trainer(lesson()) as trainer:
        assert (tmp_path / "out.run").is_dir()
        trainer.start()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


def test_finished_early_the_concept_says_after_how_many_steps(lesson: Lesson) -> None:
    with Trainer(lesson()) as trainer:
        for step in trainer:
            if step.index == 3:
                break
        concept = trainer.finish()
    assert concept.record.steps == 3
    short = train(lesson(out="short", steps=3))  # the schedule is constant, so that the first steps are the same
    assert weights(concept.folder) == weights(short.folder)


def test_a_concept_needs_every_stage(lesson: Lesson) -> None:
    with Trainer(lesson("two_stage")) as trainer:
        next(trainer)
        with pytest.raises(UsageError, match="token is not trained yet"):
            trainer.finish()
        assert [step.index for step in trainer][:2] == [2, 3]


@pytest.mark.essential
def test_a_state_is_taken_up_again_here_or_elsewhere(lesson: Lesson, taught: Taught) -> None:
    straight = taught(ema=0.9)
    trainer = Trainer(lesson(ema=0.9))
    next(trainer)
    next(trainer)
    state = trainer.state()
    first = [step.loss for step in trainer]
    trainer.load_state(*state)
    assert [step.loss for step in trainer] == first
    assert weights(trainer.finish().folder) == weights(straight.folder)
    with Trainer(lesson(out="elsewhere", ema=0.9), keep=False) as other:
        other.load_state(*state)
        assert [step.loss for step in other] == first
    another = Trainer(lesson(out="another", ema=0.5), keep=False)
    with another, pytest.raises(UsageError, match=r"ema was 0\.9"):
        another.load_state(*state)


def test_without_keeping_nothing_is_written(lesson: Lesson, tmp_path: Path) -> None:
    heard = Heard()
    with Trainer(lesson(), keep=False, listeners=[heard]) as trainer:
        losses = [step.loss for step in trainer]
        assert len(trainer.preview()) == 4
        with pytest.raises(UsageError, match="keep=True"):
            trainer.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]
    assert [event.data["loss"] for event in heard.of("step")] == losses
    with Trainer(lesson()) as kept:
        assert [step.loss for step in kept] == losses


def test_a_preview_can_be_asked_for_at_any_step(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    heard = Heard()
    trainer = Trainer(lesson(), listeners=[heard])
    next(trainer)
    pictures = trainer.preview()
    (event,) = heard.of("preview")
    assert len(pictures) == len(event.data["files"]) == 4
    assert all((tmp_path / "out.run" / file).is_file() for file in event.data["files"])
    list(trainer)
    concept = trainer.finish()
    assert all((concept.folder / "samples" / file).is_file() for file in event.data["files"])
    assert weights(concept.folder) == weights(taught().folder)


@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_the_global_generator_is_as_before(lesson: Lesson, method: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with Trainer(lesson(method, dropout=0.5) if method == "lora" else lesson(method), keep=False) as trainer:
        assert len(list(trainer)) == STEPS
    assert torch.equal(torch.rand(3), expected)


def test_an_estimate_changes_nothing_and_comes_before_the_first_step(lesson: Lesson, taught: Taught) -> None:
    straight = taught()
    trainer = Trainer(lesson())
    assert trainer.estimate().train_seconds > 0
    next(trainer)
    with pytest.raises(UsageError, match="before the first step"):
        trainer.estimate()
    list(trainer)
    assert weights(trainer.finish().folder) == weights(straight.folder)


def cancel_at(token: CancelToken, kind: str, phase: str | None = None) -> Any:
    """A listener that cancels at the first event of a kind."""

    def listen(event: Event) -> None:
        if event.kind == kind and phase in (None, event.phase):
            token.cancel("Cancelled by the test.")

    return listen


@pytest.mark.essential
@pytest.mark.parametrize(
    ("kind", "phase", "options", "kept"),
    [
        ("step", None, {}, "ckpt-000001"),
        ("phase", "preview", {"previews": 3}, "ckpt-000003"),
        ("phase", "writing", {}, f"ckpt-{STEPS:06d}"),
    ],
)
def test_cancelled_it_keeps_a_checkpoint_and_goes_on(
    lesson: Lesson,
    taught: Taught,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    phase: str | None,
    options: dict[str, Any],
    kept: str,
) -> None:
    from booth.generate.draw import draw

    monkeypatch.setattr(samples, "draw", lambda *a, **how: draw(*a, **how | {"steps": 1}))
    token = CancelToken()
    config = lesson(checkpoint_every=0, **options)
    with pytest.raises(Cancelled, match=r"Cancelled by the test\. A checkpoint is saved after .*`resume`"):
        train(config, listeners=[cancel_at(token, kind, phase)], cancel=token)
    assert [p.name for p in (tmp_path / "out.run" / "checkpoints").iterdir()] == [kept]
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(taught().folder)


def test_cancelled_between_class_pictures_what_was_drawn_is_kept(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from booth.train import stage_data

    drawn: list[int] = []

    def paint(model: Any, prompts: list[str], seeds: list[int], **how: Any) -> Any:
        drawn.append(len(prompts))
        from lessons import blank

        return blank(model, prompts, seeds)

    monkeypatch.setattr(stage_data, "draw", paint)
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    token, heard = CancelToken(), Heard()
    config = lesson("dreambooth", class_pictures=12)
    with pytest.raises(Cancelled):
        train(config, listeners=[heard, cancel_at(token, "progress", "class pictures")], cancel=token)
    assert drawn == [4]
    assert [(e.done, e.total) for e in heard.events if e.phase == "class pictures" and e.kind == "progress"] == [
        (4, 12)
    ]
    train(config)
    assert sum(drawn) <= 4 + 12


def test_cancelled_between_photos_what_was_encoded_is_kept(
    lesson: Lesson, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    token, heard = CancelToken(), Heard()
    with pytest.raises(Cancelled):
        train(lesson(), listeners=[heard, cancel_at(token, "progress", "encoding")], cancel=token)
    total = next(e.total for e in heard.events if e.phase == "encoding")
    assert [(e.done, e.total) for e in heard.events if e.phase == "encoding" and e.kind == "progress"] == [(1, total)]
    assert len(list((tmp_path / "cache" / "latents").iterdir())) == 1
    again = Heard()
    done = train(lesson(resume=True), listeners=[again])
    assert [e.done for e in again.events if e.phase == "encoding" and e.kind == "progress"] == [*range(1, total + 1)]
    assert weights(done.folder) == weights(taught().folder)


@pytest.mark.parametrize("settings", [slow({}), {"prior_weight": 1.0, "prior": "prediction", "ema": 0.9}])
def test_the_loss_by_noise_level_is_told_and_changes_nothing(lesson: Lesson, settings: dict[str, Any]) -> None:
    straight = train(lesson(out="straight", dropout=0.5, **settings))
    heard = Heard()
    with Trainer(lesson(dropout=0.5, **settings), listeners=[heard]) as trainer:
        before = trainer.loss_by_noise_level(levels=5)
        assert trainer.loss_by_noise_level(levels=5) == before
        for _ in trainer:
            trainer.loss_by_noise_level(levels=5)
        concept = trainer.finish()
    assert [level for level, _ in before] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert len({loss for _, loss in before}) == 5
    told = heard.of("noise_levels")
    assert told[0].data["losses"] == [loss for _, loss in before]
    assert told[-1].data["losses"] != told[0].data["losses"]  # something was learned
    assert weights(concept.folder) == weights(straight.folder)


def test_trackers_are_handed_what_is_drawn_over_steps(lesson: Lesson) -> None:
    from booth.trackers import to_tensorboard, to_wandb

    scalars: list[tuple[str, float, int]] = []
    logged: list[tuple[dict[str, float], int]] = []

    class Writer:
        flushed = 0

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            scalars.append((tag, scalar_value, global_step))

        def flush(self) -> None:
            self.flushed += 1

    class Run:
        def log(self, data: dict[str, float], step: int) -> None:
            logged.append((data, step))

    writer, heard = Writer(), Heard()
    train(lesson("two_stage"), listeners=[to_tensorboard(writer), to_wandb(Run()), heard])
    losses = [event.data["loss"] for event in heard.of("step")]
    assert [value for tag, value, _ in scalars if tag == "train/loss"] == losses
    assert [(data["train/loss"], step) for data, step in logged] == [(loss, i + 1) for i, loss in enumerate(losses)]
    assert writer.flushed == 1
