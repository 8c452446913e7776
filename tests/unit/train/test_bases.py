"""Whole runs on other bases, precisions and sizes than the usual ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lessons import Lesson

from bases import SIDE, write_base
from booth.concept import Concept
from booth.core.errors import UsageError
from booth.families.loading import load_family
from booth.train.run import train

pytestmark = pytest.mark.usefixtures("no_samples")


def test_stable_diffusion_xl_is_taught_and_its_concept_is_drawn(lesson: Lesson, tmp_path: Path) -> None:
    base = write_base("stable_diffusion_xl", tmp_path / "base")
    concept = train(lesson("textual_inversion", base=str(base), family="stable_diffusion_xl", steps=2))
    assert concept.record.family == "stable_diffusion_xl"
    assert Concept.load(concept.folder).generate("sks dog", steps=1)[0].size == (SIDE, SIDE)


def test_a_wrong_family_ends_before_anything_is_written(lesson: Lesson, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is Stable Diffusion 1"):
        train(lesson(family="flux"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_a_base_in_half_the_bytes_is_taught(lesson: Lesson, method: str) -> None:
    concept = train(lesson(method, base_precision="bf16", steps=2, prior_weight=0.0))
    assert concept.record.precision == "fp32, base in bf16"
    assert concept.record.final_loss is not None


def test_a_resumed_run_needs_the_same_base_precision(lesson: Lesson) -> None:
    train(lesson(steps=1))
    with pytest.raises(UsageError, match="precision was 'fp32' and is now 'fp32, base in bf16'"):
        train(lesson(steps=1, base_precision="bf16", resume=True))


def test_the_squares_have_the_resolution_asked_for(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, toy_base: Path
) -> None:
    seen: set[torch.Size] = set()
    kind = type(load_family(str(toy_base)))
    encode = kind.encode
    monkeypatch.setattr(kind, "encode", lambda self, pixels: (seen.add(pixels.shape[-2:]), encode(self, pixels))[1])
    train(lesson(resolution=16, steps=1))
    assert seen == {torch.Size([16, 16])}
    with pytest.raises(UsageError, match=r"resolution=20 .* multiple of 8"):
        train(lesson(out="other", resolution=20))
