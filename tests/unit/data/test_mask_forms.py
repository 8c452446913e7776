"""A mask is read by a mask's rules, in whatever form an editor saved it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photo_files import picture
from PIL import Image

from booth.data.photos import load_photos

INSIDE = np.zeros((40, 48), dtype=bool)
INSIDE[10:30, 12:36] = True


def _rgba(rgb: tuple[int, int, int], outside: tuple[int, int, int] | None = None) -> Image.Image:
    pixels = np.zeros((40, 48, 4), dtype=np.uint8)
    pixels[...] = (*(outside or rgb), 0)
    pixels[INSIDE] = (*rgb, 255)
    return Image.fromarray(pixels)


def _palette(index: int) -> Image.Image:
    image = Image.fromarray((INSIDE * index).astype(np.uint8))
    image = image.convert("P")
    image.putpalette([v for i in range(256) for v in (i, i, i)])
    return image


def _rgb(colour: tuple[int, int, int]) -> Image.Image:
    pixels = np.zeros((40, 48, 3), dtype=np.uint8)
    pixels[INSIDE] = colour
    return Image.fromarray(pixels)


FORMS = {
    "white on transparent": _rgba((255, 255, 255)),
    "black on transparent": _rgba((0, 0, 0)),
    "a cut-out": _rgba((90, 140, 20), (10, 200, 30)),
    "grey with alpha": _rgba((255, 255, 255)).convert("LA"),
    "white on black": _rgb((255, 255, 255)),
    "red on black": _rgb((255, 0, 0)),
    "blue on black": _rgb((0, 0, 255)),
    "palette of 0 and 1": _palette(1),
    "palette of 0 and 128": _palette(128),
    "bitmap": Image.fromarray((INSIDE * 255).astype(np.uint8)).convert("1"),
    "16 bits": Image.fromarray((INSIDE * 65535).astype(np.uint16)),
    "16 bits, up to 255": Image.fromarray((INSIDE * 255).astype(np.uint16)),
    "16 bits, up to 1": Image.fromarray(INSIDE.astype(np.uint16)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_mask(form: str, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    FORMS[form].save(tmp_path / "a-masklabel.png")
    found = load_photos([tmp_path])
    (photo,) = found.photos
    assert photo.mask is not None
    assert np.array_equal(np.asarray(photo.mask), INSIDE * 255)
    dim = any(word in form for word in ("and 1", "up to", "and 128"))
    assert any("as white, for nothing in them is brighter" in note for note in found.resized) is dim


@pytest.mark.parametrize("name", ["a-masklabel.jpg", "a_mask.png", "a-mask.webp", "masks/a.png", "mask/a.jpg"])
def test_masks_are_found_however_they_are_named(name: str, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    FORMS["white on black"].save(tmp_path / name)
    (photo,) = load_photos([tmp_path]).photos
    assert photo.mask is not None


def test_a_photo_that_is_called_mask_is_a_photo(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "carnival_mask.png")
    (photo,) = load_photos([tmp_path]).photos
    assert photo.path.name == "carnival_mask.png"


def test_a_mask_that_is_white_all_over_is_told(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    Image.new("L", (48, 40), 255).save(tmp_path / "a-masklabel.png")
    found = load_photos([tmp_path])
    assert found.photos[0].mask is None
    assert any("white all over and change nothing" in note for note in found.notes)
