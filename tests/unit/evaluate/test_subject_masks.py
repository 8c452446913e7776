"""Who says where the subject is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from booth.data.photos import Photo
from booth.evaluate import masks as module
from booth.evaluate.masks import Masks, background_only, standing_out, subject_only
from booth.families.segmentation import CLIPSEG
from planes import plain


def left(side: int = 8) -> Image.Image:
    mask = Image.new("L", (side, side))
    mask.paste(255, (0, 0, side // 2, side))
    return mask


def square() -> Image.Image:
    """A red square on green, in the middle."""
    picture = Image.new("RGB", (64, 64), (10, 200, 10))
    picture.paste((250, 10, 10), (20, 20, 44, 44))
    return picture


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A cache with a segmenter that sees the right half, but nothing in black pictures; what it was asked for."""
    told: list[str] = []

    class Right:
        def __init__(self, folder: str, device: str) -> None:
            assert folder == str(tmp_path)

        def __call__(self, image: Image.Image, noun: str) -> np.ndarray:
            told.append(noun)
            found = np.zeros((image.height, image.width), dtype=bool)
            found[:, image.width // 2 :] = np.asarray(image).any()
            return found

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, local_files_only: str(tmp_path))
    monkeypatch.setattr(module, "Segmenter", Right)
    return told


def test_the_photos_own_mask_then_the_segmenter_then_what_stands_out(asked: list[str]) -> None:
    photo, drawing, dark = plain(9, 9, 9), plain(1, 2, 3), Image.new("RGB", (64, 64))
    masks = Masks("dog", [Photo(Path("a.png"), "", photo, mask=left()), Photo(Path("b.png"), "", drawing)])
    masks.use_segmenter("full")
    assert masks(photo.copy()).tolist() == (np.asarray(left()) > 127).tolist()
    assert masks(drawing).tolist() == (~(np.asarray(left()) > 127)).tolist()
    masks(drawing.copy())
    assert asked == ["dog"]  # each picture once
    assert masks(dark).tolist() == standing_out(dark).tolist()
    told = masks.about()
    assert (told["painted"], told["by"]) == (1, CLIPSEG)
    assert told["weights"].startswith("sha256:")


def test_the_embedded_bases_pictures_are_not_segmented(asked: list[str]) -> None:
    masks = Masks("dog", [])
    masks.use_segmenter("tiny")
    assert masks(square()).tolist() == standing_out(square()).tolist()
    assert (asked, masks.about()) == ([], {"painted": 0, "by": "what stands out"})


def test_without_a_segmenter_what_stands_out_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def nothing(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    masks = Masks("dog", [])
    masks.use_segmenter("full")
    found = masks(square())
    assert found[30:34, 30:34].all()
    assert not found[:8].any()
    assert masks.about()["by"] == "what stands out"


def test_a_picture_is_cut_into_subject_and_background() -> None:
    def where(image: Image.Image) -> np.ndarray:
        """A ring, whose middle belongs to the subject too."""
        mask = np.zeros((64, 64), dtype=bool)
        mask[10:40, 10:40], mask[16:34, 16:34] = True, False
        return mask

    picture = Image.new("RGB", (64, 64), (9, 20, 30))
    picture.paste((200, 0, 0), (8, 8, 42, 42))
    subject, background = (np.asarray(cut(picture, where)) for cut in (subject_only, background_only))
    assert subject[12, 12].tolist() == [200, 0, 0]
    assert (subject[~where(picture)] == 128).all()
    assert (background == (9, 20, 30)).all()  # neither the middle nor the rim of two pixels is left
    assert background_only(plain(9, 9, 9), lambda image: np.ones((8, 8), dtype=bool)) is None
