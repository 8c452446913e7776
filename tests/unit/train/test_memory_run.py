"""Whole runs by a memory plan: what is let go, what is told, and that nothing is learned otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Heard, Lesson, weights

from booth.cli.plan import in_words
from booth.core.errors import Interrupted, NotAvailableError, OutOfMemoryError, UsageError
from booth.families import memory as plans_of
from booth.families.loading import load_family
from booth.families.stable_diffusion import StableDiffusion
from booth.generate.draw import draw
from booth.session import Session
from booth.train import memory, samples, setup, stepping
from booth.train.dry_run import describe
from booth.train.run import train


class Watch(Heard):
    """Sees which parts are let go at each step, and writes down what it hears."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> None:
        self.freed: list[set[str]] = []
        super().__init__(stop)
        predict = StableDiffusion.predict

        def seen(model: StableDiffusion, *rest: Any) -> torch.Tensor:
            self.freed.append(set(model.freed))
            return predict(model, *rest)

        monkeypatch.setattr(StableDiffusion, "predict", seen)


@pytest.fixture
def quick_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of one denoising step."""
    monkeypatch.setattr(samples, "draw", lambda *arguments, **how: draw(*arguments, **how | {"steps": 1}))


@pytest.mark.usefixtures("quick_samples")
def test_parts_are_let_go_between_drawings_and_nothing_changes(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"previews": 2, "caption_dropout": 0.5}
    plain = train(lesson("lora", "plain", **options))
    watch = Watch(monkeypatch)
    lean = train(lesson("lora", "lean", memory="fp32+freed", **options), listeners=[watch])
    assert watch.freed == [{"vae", "text_encoder"}] * 5
    assert weights(lean.folder) == weights(plain.folder)
    assert lean.record.precision == plain.record.precision == "fp32"
    pictures = sorted(p.relative_to(plain.folder) for p in (plain.folder / "samples").rglob("*.png"))
    assert len(pictures) == 12
    assert all((plain.folder / p).read_bytes() == (lean.folder / p).read_bytes() for p in pictures)
    assert any("Memory plan fp32+freed: about" in text and "as asked" in text for text in watch.messages)


@pytest.mark.usefixtures("no_samples")
def test_another_plan_of_the_same_precision_resumes_to_the_same_bits(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"prior_weight": 1.0, "class_pictures": 4}
    straight = train(lesson("lora", "straight", **settings))
    config = lesson("lora", "stopped", memory="fp32+freed", **settings)
    with pytest.raises(Interrupted), monkeypatch.context() as patch:
        train(config, listeners=[Watch(patch, stop=3)])
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)


@pytest.mark.usefixtures("no_samples")
@pytest.mark.parametrize("method", ["textual_inversion", "two_stage"])
def test_text_encoders_that_hold_what_was_learned_stay(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    watch = Watch(monkeypatch)
    train(lesson(method, memory="fp32+freed"), listeners=[watch])
    assert watch.freed == [{"vae"}] * len(watch.freed)


@pytest.mark.usefixtures("no_samples")
def test_prompts_without_end_keep_the_text_encoder(
    lesson: Lesson, photos_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        (photos_folder / f"{i}.txt").write_text("a dog, asleep, indoors, red")
    watch = Watch(monkeypatch)
    train(lesson("lora", memory="fp32+freed", shuffle_tags=True), listeners=[watch])
    assert watch.freed == [{"vae"}] * 5


def room(monkeypatch: pytest.MonkeyPatch, lesson: Lesson, plan: str, less: int = 0) -> None:
    """Just as much memory as a plan of the lesson takes.

    The toy's autoencoder outweighs its denoiser: in float32 it would leave no room in which bf16 gains anything.
    """
    monkeypatch.setattr(plans_of, "needs_float32", lambda *_: False)
    plans = memory.plan_memory(lesson(), "cpu").plans
    needed = next(p.bytes for p in plans if p.name == plan) - less
    monkeypatch.setattr(memory, "available_memory", lambda device: needed)


@pytest.mark.usefixtures("no_samples")
@pytest.mark.parametrize(
    ("plan", "precision", "checkpointing", "why"),
    [
        ("fp32", "fp32", False, ", the cheapest to run."),
        ("bf16", "fp32, base in bf16", False, "; cheaper to run but too large: fp32 0."),
        ("bf16+freed+checkpointing", "fp32, base in bf16", True, "bf16+freed 0."),
    ],
)
def test_the_cheapest_plan_that_fits_is_taken_and_told(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, plan: str, precision: str, checkpointing: bool, why: str
) -> None:
    room(monkeypatch, lesson, plan)
    watch = Watch(monkeypatch)
    record = train(lesson(), listeners=[watch]).record
    (told,) = (text for text in watch.messages if text.startswith("Memory plan"))
    assert told.startswith(f"Memory plan {plan}: about ")
    assert why in told
    assert record.precision == precision
    assert record.settings["gradient_checkpointing"] == checkpointing
    assert ("freed" in plan) == any(watch.freed)


@pytest.mark.usefixtures("no_samples")
def test_where_nothing_fits_the_smallest_is_tried(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, lesson, "bf16+freed+checkpointing", less=1)
    watch = Watch(monkeypatch)
    train(lesson(), listeners=[watch])
    told = watch.messages[[text.startswith("Memory plan") for text in watch.messages].index(True)]
    assert "by the estimate none fits, and this takes the least" in told
    assert "nf4+freed+checkpointing would take" in told
    assert "but needs a CUDA device" in told


def test_the_dry_run_lists_the_plans(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, lesson, "bf16")
    plan = describe(lesson())
    assert plan["memory"]["plan"] == "bf16"
    fits = {p["name"]: p["fits"] for p in plan["memory"]["plans"]}
    assert (fits["fp32"], fits["bf16"], fits["bf16+freed"]) == (False, True, True)
    words = in_words(plan)
    assert any(line.startswith("memory    Memory plan bf16: ") for line in words)
    assert any("fp32: " in line and line.endswith("too large") for line in words)


def test_what_cannot_be_taken_is_refused_with_what_to_do(lesson: Lesson) -> None:
    with pytest.raises(NotAvailableError, match=r"nf4 needs a CUDA device.*base_precision=bf16"):
        train(lesson(base_precision="nf4"))
    with pytest.raises(UsageError, match=r"no plan memory=small.*There are: auto, fp32"):
        train(lesson(memory="small"))
    with pytest.raises(UsageError, match="base_precision=int8"):
        train(lesson("dreambooth", base_precision="int8"))


def test_out_of_memory_names_the_next_plan(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **how: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(stepping, "training_steps", full)
    with pytest.raises(OutOfMemoryError, match=r"`memory=fp32\+freed`"):
        train(lesson())


@pytest.mark.filterwarnings("ignore")
def test_the_base_is_held_as_the_plan_says(lesson: Lesson, toy_base: Path) -> None:
    dtypes: dict[str | None, torch.dtype] = {}
    for precision in (None, "fp32", "bf16"):
        with setup.held_base(lesson(base_precision=precision), Session(str(toy_base))) as model:
            dtypes[precision] = next(model.components()["unet"].parameters()).dtype
    assert dtypes == {None: torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}
    assert load_family(str(toy_base)).freed == set()
