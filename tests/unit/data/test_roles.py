"""What a folder is for is read from its name and its parents', and beside the other folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_layouts import names, put, refusal

from booth.data.photos import load_photos
from booth.data.roles import role_of


@pytest.mark.parametrize("reg", ["reg", "Reg", "regularization", "regularisation_images", "reg_data", "class_images"])
@pytest.mark.parametrize("below", ["1_sks dog", "sks dog", "deep/1_dog", "."])
def test_class_pictures_are_never_the_subject_whatever_lies_between(reg: str, below: str, tmp_path: Path) -> None:
    put(tmp_path / "img" / "10_sks dog", "a.jpg", "b.jpg")
    put(tmp_path / reg / below, "r.jpg", "s.jpg", "t.jpg")
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg", "b.jpg"]
    assert (found.token, found.noun) == ("sks", "dog")
    assert f"skipped with 3 photos: regularisation pictures, as {reg} says" in found.skipped[0]
    assert load_photos(sorted(tmp_path.iterdir())).photos == found.photos


def test_class_pictures_alone_are_refused_unless_they_are_named(tmp_path: Path) -> None:
    put(tmp_path / "reg" / "1_dog", "a.jpg")
    assert "class pictures by their folder's name" in refusal(tmp_path)
    assert names(load_photos([tmp_path / "reg"])) == ["a.jpg"]


def test_one_word_folders_below_images_are_concepts(tmp_path: Path) -> None:
    put(tmp_path / "images" / "30_cat", "a.jpg")
    put(tmp_path / "images" / "40_black mamba", "b.jpg")
    put(tmp_path / "regularization" / "1_cat", "c.jpg")
    put(tmp_path / "regularization" / "1_black mamba", "d.jpg")
    assert "several subjects (black mamba, cat)" in refusal(tmp_path)
    one = load_photos([tmp_path / "images" / "30_cat"])
    assert (one.token, one.noun) == (None, None)


@pytest.mark.parametrize(
    ("folder", "reg", "token", "noun"),
    [
        ("10_sks teddy bear", "1_teddy bear", "sks", "teddy bear"),
        ("10_sks teddy bear", "1_bear", "sks", "teddy bear"),  # "sks teddy" is no token
        ("10_mystyle", "1_style", "mystyle", "style"),
        ("10_mystyle", "style", "mystyle", "style"),
        ("10_rex", "1_rex", None, None),
    ],
)
def test_the_class_pictures_tell_where_the_token_ends(
    folder: str, reg: str, token: str | None, noun: str | None, tmp_path: Path
) -> None:
    put(tmp_path / "img" / folder, "a.jpg")
    put(tmp_path / "reg" / reg, "r.jpg")
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg"]
    assert (found.token, found.noun) == (token, noun)


@pytest.mark.parametrize(
    ("folder", "repeats"), [("1000_sks dog", True), ("1899_sks dog", True), ("2024_sks dog", False)]
)
def test_four_digits_are_repeats_unless_they_read_as_a_year(folder: str, repeats: bool, tmp_path: Path) -> None:
    put(tmp_path / "img" / folder, "a.jpg")
    found = load_photos([tmp_path])
    assert (found.token == "sks") is repeats
    assert names(found) == ["a.jpg"]


def test_what_a_trainer_leaves_beside_the_photos_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.jpg")
    put(tmp_path / "model" / "sample", "b.jpg")
    put(tmp_path / "log", "c.jpg")
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg"]
    assert len(found.skipped) == 2
    assert names(load_photos([tmp_path / "model"])) == ["b.jpg"]  # where there is nothing else, a name proves nothing


@pytest.mark.parametrize("name", ["registry", "classical", "maskerade", "imagine", "regina", "dog"])
def test_a_word_that_only_begins_so_is_no_role(name: str) -> None:
    assert role_of(name) is None
