"""Whole runs on photos in aspect-ratio buckets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Lesson, stop_after, weights
from PIL import Image

from bases import write_base
from booth.cli.plan import in_words
from booth.core.errors import Interrupted, UsageError
from booth.families.loading import load_family
from booth.train.dry_run import describe
from booth.train.run import train
from harness import slow

pytestmark = pytest.mark.usefixtures("no_samples")


@pytest.fixture
def shaped(photos_folder: Path) -> Path:
    """Two square photos, one wide and one tall."""
    for name, box in (("1", (0, 12, 64, 52)), ("2", (8, 0, 46, 64))):
        with Image.open(photos_folder / f"{name}.png") as photo:
            part = photo.crop(box)
        part.save(photos_folder / f"{name}.png")
    return photos_folder


@pytest.mark.essential
@pytest.mark.parametrize(
    "settings",
    [
        slow({"accumulate": 2}),
        slow({"prior_weight": 1.0, "class_pictures": 4}),
        {"prior_weight": 1.0, "prior": "prediction"},
    ],
)
def test_a_run_in_buckets_resumes_to_the_same_bits(lesson: Lesson, shaped: Path, settings: dict[str, Any]) -> None:
    straight = train(lesson("lora", "straight", crop="buckets", **settings))
    config = lesson("lora", "stopped", crop="buckets", **settings)
    stop = stop_after(3)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop])
    assert "Photos in buckets: 1 in 24x40, 2 in 32x32, 1 in 40x24." in stop.messages
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)
    assert resumed.record.data["crop"] == "buckets"


def test_each_step_sees_the_shape_of_its_bucket(
    lesson: Lesson, shaped: Path, toy_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.Size] = set()
    kind = type(load_family(str(toy_base)))
    predict = kind.predict
    monkeypatch.setattr(kind, "predict", lambda self, x_t, *rest: (seen.add(x_t.shape), predict(self, x_t, *rest))[1])
    train(lesson("lora", crop="buckets", steps=8))
    assert seen == {torch.Size([2, 4, *shape]) for shape in ((10, 6), (8, 8), (6, 10))}


def test_the_plan_tells_each_photo_s_bucket(lesson: Lesson, shaped: Path) -> None:
    plan = describe(lesson(crop="buckets"))
    assert [photo["bucket"] for photo in plan["photos"]["used"]] == [(32, 32), (40, 24), (24, 40), (32, 32)]
    assert any("1.png, 64x40, bucket 40x24" in line for line in in_words(plan))
    assert {photo["bucket"] for photo in describe(lesson())["photos"]["used"]} == {None}


def test_a_resolution_without_buckets_is_refused(lesson: Lesson, shaped: Path, tmp_path: Path) -> None:
    base = write_base("stable_diffusion_3", tmp_path / "base")
    with pytest.raises(UsageError, match="multiples of 8, which a resolution of 20 is not"):
        train(lesson(base=str(base), crop="buckets", resolution=20))
