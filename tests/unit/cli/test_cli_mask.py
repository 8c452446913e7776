"""booth mask."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from told import last_object

from booth.data.photos import load_photos
from booth.families import segmentation


@pytest.fixture
def photos(booth_cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, one with a mask, and a segmenter that sees what is white; nothing in the third."""

    class White:
        def __init__(self, name: str, device: str) -> None:
            self.name = name

        def __call__(self, image: Image.Image, noun: str) -> np.ndarray:
            assert noun == "dog"
            return np.asarray(image.convert("L")) > 200

    monkeypatch.setattr(segmentation, "Segmenter", White)
    folder = Path("photos")
    folder.mkdir()
    for i in range(3):
        photo = Image.new("RGB", (40 + i, 60), (i, 0, 0))
        photo.paste((255, 255, 255), (10, 10, 10 if i == 2 else 30, 40))
        photo.save(folder / f"{i}.png")
    mask = Image.new("L", (41, 60))
    mask.paste(255, (0, 0, 5, 60))
    mask.save(folder / "1-masklabel.png")
    return folder


def area(folder: Path, index: int) -> float | None:
    mask = load_photos([folder]).photos[index].mask
    return None if mask is None else float((np.asarray(mask) > 127).mean())


def test_missing_masks_are_written_and_all_are_told(booth_cli, photos: Path) -> None:
    own = (photos / "1-masklabel.png").read_bytes()
    result = booth_cli("mask", photos, "--class", "dog")
    assert result.exit_code == 0, result.stderr
    assert [re.split(" {2,}", line)[1] for line in result.stdout.splitlines()] == [
        "written, 25% white",
        "kept",
        "not seen",
    ]
    assert "No dog was seen in 1 of 3 photos" in result.stderr
    assert "1 masks written" in result.stderr
    assert (photos / "1-masklabel.png").read_bytes() == own
    assert sorted(p.name for p in photos.iterdir()) == ["0-masklabel.png", "0.png", "1-masklabel.png", "1.png", "2.png"]
    assert [area(photos, i) for i in range(3)] == [0.25, pytest.approx(5 / 41), None]


def test_masks_are_made_anew_on_request_only(booth_cli, photos: Path) -> None:
    told = last_object(booth_cli("mask", photos, "--class", "dog", "--overwrite", "--json", "--model", "m"))
    assert (told["model"], told["class"]) == ("m", "dog")
    assert [row["written"] for row in told["masks"]] == [True, True, False]
    assert told["masks"][2]["mask"] is None
    assert area(photos, 1) == pytest.approx(20 * 30 / (41 * 60))


def test_a_mask_has_the_full_size_of_its_photo(booth_cli, photos: Path) -> None:
    big = Image.new("RGB", (1500, 1200))
    big.paste((255, 255, 255), (300, 300, 1200, 900))
    big.save("big.png")
    assert booth_cli("mask", "big.png", "--class", "dog").exit_code == 0
    with Image.open("big-masklabel.png") as mask:
        assert mask.size == (1500, 1200)
        assert {value for _, value in mask.getcolors() or []} == {0, 255}
        white = np.asarray(mask) > 127
    assert white[310:890, 310:1190].all()
    assert not white[:290].any()


def test_what_is_looked_for_must_be_said(booth_cli, photos: Path) -> None:
    result = booth_cli("mask", photos)
    assert result.exit_code == 2
    assert "--class dog" in result.stderr
    kohya = photos.rename("10_sks dog")
    assert last_object(booth_cli("mask", kohya, "--json"))["class"] == "dog"
