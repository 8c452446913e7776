"""How much of a photo is used is known before it is learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photo_files import picture
from PIL import Image

from booth.data.framing import framed
from booth.data.photos import Photo


@pytest.mark.parametrize(
    ("size", "crop", "share"),
    [
        ((64, 64), "center", 1.0),
        ((512, 64), "center", 0.125),
        ((64, 512), "subject", 0.125),
        ((96, 64), "random", 2 / 3),
    ],
)
def test_the_share_of_a_square(size: tuple[int, int], crop: str, share: float) -> None:
    assert framed(Photo(Path("a"), "a", picture(1, size)), crop, 64, 8).share == pytest.approx(share, abs=1e-3)


def test_a_bucket_keeps_more_and_tells_what_it_keeps() -> None:
    wide = Photo(Path("a"), "a", picture(1, (192, 64)))
    assert framed(wide, "center", 64, 8).share < 0.4 < 0.6 < framed(wide, "buckets", 64, 8).share


def test_a_crop_of_one_colour_is_known() -> None:
    pixels = np.zeros((64, 512, 3), dtype=np.uint8)
    pixels[:, :100] = np.asarray(picture(1, (100, 64)))
    strip = Photo(Path("a"), "a", Image.fromarray(pixels))
    assert framed(strip, "center", 64, 8).flat
    assert not framed(strip, "subject", 64, 8).flat
