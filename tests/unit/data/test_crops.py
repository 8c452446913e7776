"""The square that is cut from a photo: its size, its place, its pixels."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import picture
from PIL import Image, ImageDraw

from booth.data.crops import CROPS, _subject, saliency, square


def scene(place: float, tall: bool = False, ground: int = 0) -> Image.Image:
    """A noisy ground of 240x80 with a red ball whose middle is at `place` (0 left, 1 right) of the long side."""
    noise = np.random.default_rng(ground).normal(0, 6, (80, 240, 1))
    slope = np.linspace(70, 140, 240)[None, :, None] * np.array([0.6, 0.8, 0.7])
    image = Image.fromarray((noise + slope).clip(0, 255).astype(np.uint8))
    x = 25 + place * 190
    ImageDraw.Draw(image).ellipse((x - 22, 18, x + 22, 62), fill=(210, 60, 40), outline=(60, 0, 0), width=3)
    return image.transpose(Image.Transpose.TRANSPOSE) if tall else image


def red_middle(image: Image.Image) -> tuple[float, float]:
    """Where the red pixels are, as shares of width and height; (-1, -1) if there are none."""
    pixels = np.asarray(image, dtype=int)
    y, x = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 110))
    return (float(x.mean()) / image.width, float(y.mean()) / image.height) if len(x) else (-1.0, -1.0)


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("place", [0.0, 0.15, 0.5, 0.85, 1.0])
def test_the_subject_crop_finds_an_object_that_is_off_the_centre(place: float, tall: bool) -> None:
    cut = square(scene(place, tall), 80, "subject")
    whole = np.asarray(scene(place, tall), dtype=int)
    reds = int(((whole[..., 0] > 150) & (whole[..., 1] < 110)).sum())
    kept = np.asarray(cut, dtype=int)
    assert int(((kept[..., 0] > 150) & (kept[..., 1] < 110)).sum()) >= 0.97 * reds
    if 0.1 < place < 0.9:
        assert red_middle(cut)[1 if tall else 0] == pytest.approx(0.5, abs=0.12)


def test_of_two_things_alike_the_one_in_the_middle_is_the_subject() -> None:
    image = Image.new("RGB", (300, 80), (120, 130, 120))
    for x, radius in ((150, 20), (270, 21)):
        ImageDraw.Draw(image).ellipse((x - radius, 40 - radius, x + radius, 40 + radius), fill=(210, 60, 40))
    assert red_middle(square(image, 80, "subject"))[0] == pytest.approx(0.5, abs=0.05)


def test_the_centre_crop_misses_such_an_object() -> None:
    assert red_middle(square(scene(0.0), 80, "center")) == (-1.0, -1.0)


@pytest.mark.parametrize("size", [(100, 60), (60, 100)])
def test_the_centre_is_the_centre(size: tuple[int, int]) -> None:
    image = picture(0, size)
    left, top = (size[0] - 60) // 2, (size[1] - 60) // 2
    assert square(image, 60, "center").tobytes() == image.crop((left, top, left + 60, top + 60)).tobytes()


def test_a_random_crop_is_decided_by_its_source_of_randomness() -> None:
    image = picture(0, (400, 50))
    cuts = [square(image, 50, "random", random.Random(seed)).tobytes() for seed in (1, 1, 2)]
    assert cuts[0] == cuts[1] != cuts[2]
    with pytest.raises(ValueError, match="rng"):
        square(image, 50, "random")


def test_resampling_is_lanczos() -> None:
    image = picture(0, (90, 90))
    for crop in CROPS:
        cut = square(image, 32, crop, random.Random(0))
        assert cut.tobytes() == image.resize((32, 32), Image.Resampling.LANCZOS).tobytes()


@pytest.mark.parametrize("size", [(200, 64), (64, 200), (65, 64)])
@pytest.mark.parametrize("colour", [(90, 90, 90), (0, 0, 0), (255, 255, 255)])
def test_a_plain_photo_is_cut_in_the_middle(size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", size, colour)
    image.putpixel((size[0] // 2, size[1] // 2), (colour[0] ^ 1, *colour[1:]))
    assert _subject(image) == pytest.approx(0.5, abs=0.51 if size == (65, 64) else 0.01)
    assert _subject(Image.new("RGB", (200, 64), colour)) == pytest.approx(0.5, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(st.integers(32, 300), st.integers(32, 300), st.sampled_from(CROPS), st.integers(0, 99))
def test_every_size_gives_a_square(width: int, height: int, crop: str, seed: int) -> None:
    image = picture(seed, (width, height))
    assert square(image, 64, crop, random.Random(seed)).size == (64, 64)  # type: ignore[arg-type]
    assert saliency(image).min() >= 0
