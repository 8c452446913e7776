"""What of the photos and of what lies beside them is not learned from is told before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from booth.config import RunConfig
from booth.core.family import Family
from booth.data.photos import load_photos
from booth.train.advice import advice_on_photos
from harness import SUBJECT, make_method


def noisy(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 60).convert("RGB")


def told(folder: Path, toy: Family, method: str = "lora", **options: Any) -> list[str]:
    config = RunConfig(photos=[folder], noun="dog", method=method, **options)
    return advice_on_photos(config, toy, make_method(method), SUBJECT, load_photos([folder]))


def test_photos_of_which_all_is_used_need_no_advice(toy: Family, tmp_path: Path) -> None:
    noisy((64, 60)).save(tmp_path / "a.png")
    assert told(tmp_path, toy) == []


@pytest.mark.parametrize("size", [(512, 64), (64, 300)])
def test_a_panorama_and_a_strip_are_told_with_the_share_that_is_used(
    size: tuple[int, int], toy: Family, tmp_path: Path
) -> None:
    noisy((64, 64)).save(tmp_path / "a.png")
    noisy(size).save(tmp_path / "long.png")
    (warning,) = told(tmp_path, toy)
    share = min(size) / max(size)
    assert warning.startswith(f"Less than half of 1 of 2 photos is used, such as {share:.0%} of long.png.")
    assert "Set crop=buckets" in warning
    assert told(tmp_path, toy, crop="buckets") == []  # a bucket of that shape has nearly all of it


def test_a_crop_of_one_flat_colour_is_told(toy: Family, tmp_path: Path) -> None:
    page = Image.new("RGB", (100, 80), "white")
    page.paste(noisy((8, 80)), (0, 0))
    page.save(tmp_path / "page.png")
    (warning,) = told(tmp_path, toy)
    assert warning.startswith("What is used of 1 of 1 photos is one flat colour, such as of page.png.")


@pytest.mark.parametrize("method", ["lora", "textual_inversion", "controlnet"])
def test_hints_are_told_as_unused_where_the_method_follows_none(method: str, toy: Family, tmp_path: Path) -> None:
    (tmp_path / "conditioning").mkdir()
    for name in ("a.png", "b.png"):
        noisy((64, 64)).save(tmp_path / name)
        noisy((64, 64)).save(tmp_path / "conditioning" / name)
    found = told(tmp_path, toy, method)
    assert any("2 photos have hints" in warning and "are not used" in warning for warning in found) is (
        method != "controlnet"
    )


@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_masks_without_effect_are_told(weight: float, toy: Family, tmp_path: Path) -> None:
    noisy((64, 64)).save(tmp_path / "a.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    mask.save(tmp_path / "a-masklabel.png")
    expected = ["1 photos have masks, which are not used: unmasked_weight is 1."] if weight == 1 else []
    assert told(tmp_path, toy, unmasked_weight=weight) == expected
