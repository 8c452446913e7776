"""The comparison of encoders on photographs: the page shows its result, and its numbers mean what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from script_files import ROOT, load

script = load("encoders_on_photographs", "benchmarks")


def test_the_page_shows_the_result() -> None:
    told = json.loads((ROOT / "results/encoders_on_photographs.json").read_text(encoding="utf-8"))
    page = script.PAGE.read_text(encoding="utf-8")
    assert page == script.with_table(page, told["encoders"]), "run benchmarks/encoders_on_photographs.py"
    assert {"world-identity", "efficientnet-lite0"} <= told["encoders"].keys()


def test_a_page_without_a_place_for_the_table_is_left_alone() -> None:
    with pytest.raises(SystemExit, match="no place"):
        script.with_table(f"{script.BEGIN} and no end", {})


def unit(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_likeness_and_chances_of_vectors_whose_angles_are_known() -> None:
    """Two dogs whose photos overlap, and a cat at a right angle."""
    vectors = {"a": unit(0, 20), "b": unit(13, 45), "cat": unit(135, 135)}
    found = script.compared(vectors, {"a": "dog", "b": "dog", "cat": "cat"})

    def cosine(*degrees: float) -> float:
        return float(torch.deg2rad(torch.tensor(degrees)).cos().mean())

    assert found["same"] == pytest.approx((cosine(20) + cosine(32) + 1) / 3, abs=1e-4)
    assert found["of_its_class"] == pytest.approx(cosine(13, 45, 7, 25), abs=1e-4)
    # The two of a are nearer to each other than by 45 and 25 degrees, those of b than by 45 alone.
    assert found["from_its_class"] == pytest.approx((2 / 4 + 1 / 4) / 2, abs=1e-4)
    assert found["from_others"] == 1
    assert found["nearest"] == pytest.approx(1 / 3, abs=1e-4)  # both photos of the cat, and none of the dogs'


def test_an_encoder_that_tells_nothing_has_no_likeness_of_its_class_where_each_is_alone() -> None:
    found = script.compared({"a": unit(0, 0), "b": unit(90, 90)}, {"a": "dog", "b": "cat"})
    assert found["of_its_class"] is None
    assert "|  |" in script.table({"x": {"shown": {"all": found}}})


def test_classes_are_read_from_between_other_lines(tmp_path: Path) -> None:
    file = tmp_path / "prompts_and_classes.txt"
    file.write_text("Classes\n\nsubject_name,class\ndog2,dog\nbear_plushie,stuffed animal\n'a {0}, red'.format(x),\n")
    assert script.read_classes(file) == {"subject_name": "class", "dog2": "dog", "bear_plushie": "stuffed animal"}
