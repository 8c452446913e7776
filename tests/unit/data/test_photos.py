"""What a loaded photo holds, and which of them are reported as being there twice."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import encoded, jpeg, picture, png
from PIL import Image, ImageEnhance

from booth.data.duplicates import difference_hash, find_duplicates
from booth.data.photos import load_photos


def reported(*images: Image.Image) -> tuple[str, ...]:
    return find_duplicates([(f"{i}.png", str(i), image) for i, image in enumerate(images)])


def test_a_photo_is_its_pixels_and_the_hash_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(5))
    (photo,) = load_photos([tmp_path]).photos
    assert photo.image.tobytes() == picture(5).tobytes()
    assert photo.sha256 == hashlib.sha256(png(5)).hexdigest()
    assert (photo.caption, photo.repeats) == (None, 1)


def test_a_large_photo_is_kept_with_a_shorter_side_of_1024_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(picture(0, (1536, 2048)), "JPEG"))
    (tmp_path / "b.jpg").write_bytes(encoded(picture(1, (4000, 1024)), "JPEG"))
    assert [p.image.size for p in load_photos([tmp_path]).photos] == [(1024, 1365), (4000, 1024)]


def test_the_same_file_twice_is_reported_and_kept(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    found = load_photos([tmp_path])
    assert len(found.photos) == 2
    assert found.duplicates == (f"{tmp_path / 'b.jpg'} is the same file as {tmp_path / 'a.jpg'}; it counts twice.",)


def test_copies_that_were_saved_again_resized_cropped_or_brightened_are_reported() -> None:
    original = picture(1, (300, 200))
    copies = [
        Image.open(io.BytesIO(encoded(original, "JPEG", quality=40))).convert("RGB"),
        original.resize((150, 100), Image.Resampling.LANCZOS),
        original.crop((3, 2, 297, 198)),
        original.crop((0, 0, 291, 200)),
        ImageEnhance.Brightness(original).enhance(1.08),
    ]
    for copy in copies:
        assert reported(original, copy) == ("1.png looks almost the same as 0.png; another view would teach more.",)


def test_plain_pictures_are_told_apart_by_their_colour() -> None:
    red, blue = Image.new("RGB", (64, 64), (200, 0, 0)), Image.new("RGB", (64, 64), (0, 0, 200))
    assert reported(red, blue) == ()
    assert len(reported(red, red)) == 1


def test_the_same_light_on_other_things_is_no_duplicate() -> None:
    faint = np.random.default_rng(0).integers(0, 25, (2, 9, 9, 1))
    light = np.where(np.arange(9) < 4, 40, 200)[None, None, :, None]
    one, other = (Image.fromarray((light[0] + f).repeat(3, 2).astype(np.uint8)).resize((90, 90)) for f in faint)
    assert (difference_hash(one) != difference_hash(other)).sum() > 10
    assert reported(one, other) == ()


def test_the_same_direction_of_light_with_another_course_is_no_duplicate() -> None:
    ramp = np.arange(0, 180, dtype=np.uint8)
    steps = np.where(ramp < 90, 40 + ramp // 18, 130 + ramp // 18).astype(np.uint8)
    one, other = (Image.fromarray(np.stack([row] * 3, 1)[None].repeat(180, 0)) for row in (ramp, steps))
    assert (difference_hash(one) == difference_hash(other)).all()
    assert reported(one, other) == ()


def test_the_same_ground_with_the_thing_elsewhere_is_no_duplicate() -> None:
    grounds = [Image.new("RGB", (128, 128), "white") for _ in range(2)]
    for ground, x in zip(grounds, (20, 50)):
        ground.paste((180, 20, 20), (x, 30, x + 50, 110))
    assert reported(*grounds) == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_different_pictures_are_not_reported_and_equal_ones_are(a: int, b: int) -> None:
    assert len(reported(picture(a), picture(b))) == (a == b)
