"""The blind taste test."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from booth.compare.summary import Cell, Column, Summary
from booth.compare.taste import Choice, bradley_terry, disagreements, pairs, read_choices, show, write_choices
from booth.core.errors import BadDataError, UsageError
from booth.evaluate.protocol import Protocol


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """Two methods with four pictures each, and a metric that prefers b."""
    for method in ("a", "b"):
        folder = tmp_path / "runs" / f"{method}-0" / "concept_pictures"
        folder.mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (32, 32), (20 * i, 0, 200 if method == "a" else 0)).save(folder / f"{i:05}.png")
    protocol = Protocol(("a {} in the snow", "a red {}"), "file", (0, 1)).to_json()
    runs = [{"method": m, "seed": 0, "status": "done"} for m in ("a", "b")]
    cells = {"a": Cell(0.3, 0.25, 0.35), "b": Cell(0.6, 0.55, 0.65, best=True)}
    column = Column("subject_similarity/dino-vits16", "subject_similarity", "", "dino-vits16", True, cells)
    return Summary(tmp_path, {"noun": "dog", "protocol": protocol}, runs, {}, [column])


def test_pairs_are_of_one_prompt_and_their_sides_are_drawn_by_lot(summary: Summary) -> None:
    found = pairs(summary, 40, seed=1)
    assert len(found) == 40
    assert {(p.left, p.right) for p in found} == {("a", "b"), ("b", "a")}
    for pair in found:
        assert pair.left_file.name == pair.right_file.name
        place = int(pair.left_file.stem)
        assert pair.prompt == ("a dog in the snow" if place < 2 else "a red dog")
    assert pairs(summary, 5, seed=1) == pairs(summary, 5, seed=1)


def test_the_sheet_shows_left_and_right(summary: Summary, tmp_path: Path) -> None:
    pair = next(p for p in pairs(summary, 20) if p.left == "a")
    sheet = Image.open(show(pair, [pair.left_file], tmp_path / "t.png"))
    blue = [sheet.getpixel((148 + 6 + 96 + i * 198, 6 + 198 + 96))[2] for i in (0, 1)]  # type: ignore[index]
    assert blue == [200, 0]


def test_bradley_terry_of_two_is_the_share_of_wins() -> None:
    """With the half win each way that is added, 7 of 10 is (7 + .5) / (10 + 1); strengths are s and 1/s."""
    choices = [Choice("a", "b", "a")] * 7 + [Choice("b", "a", "b")] * 3
    best, worst = bradley_terry(choices)
    odds = 7.5 / 3.5
    assert (best.method, worst.method) == ("a", "b")
    assert best.value == pytest.approx(math.sqrt(odds) / (1 + math.sqrt(odds)), abs=1e-6)
    assert best.value + worst.value == pytest.approx(1)
    assert best.low < best.value < best.high


def test_bradley_terry_finds_known_strengths_from_exact_shares() -> None:
    """Strengths 4, 2 and 1: the chance of i over j is s_i / (s_i + s_j)."""
    games = {("a", "b"): 4 / 6, ("a", "c"): 4 / 5, ("b", "c"): 2 / 3}
    choices = [Choice(i, j, i if k < round(600 * share) else j) for (i, j), share in games.items() for k in range(600)]
    ranks = {r.method: r.value / (1 - r.value) for r in bradley_terry(choices)}
    assert ranks["a"] / ranks["b"] == pytest.approx(2, rel=0.01)
    assert ranks["b"] / ranks["c"] == pytest.approx(2, rel=0.01)


def test_a_tie_is_half_a_win_for_each() -> None:
    assert [r.value for r in bradley_terry([Choice("a", "b", None)] * 4)] == pytest.approx([0.5, 0.5])
    with pytest.raises(UsageError, match="Nothing was chosen"):
        bradley_terry([])


def test_where_people_and_a_metric_disagree_is_told(summary: Summary) -> None:
    sure = bradley_terry([Choice("a", "b", "a")] * 12)
    assert disagreements(sure, summary) == ["You prefer a to b; DINO (dino-vits16) says the reverse."]
    assert disagreements(bradley_terry([Choice("a", "b", "b")] * 12), summary) == []
    unsure = bradley_terry([Choice("a", "b", "a"), Choice("a", "b", "b"), Choice("a", "b", "a")])
    assert disagreements(unsure, summary) == []


def test_choices_are_kept_with_what_follows_from_them(summary: Summary) -> None:
    assert read_choices(summary.folder) == []
    told = write_choices(summary.folder, [Choice("a", "b", "a")], summary)
    assert json.loads((summary.folder / "taste.json").read_text()) == told
    assert read_choices(summary.folder) == [Choice("a", "b", "a")]


def test_one_method_alone_cannot_be_tasted(summary: Summary) -> None:
    summary.runs.pop()
    with pytest.raises(BadDataError, match="fewer than two methods"):
        pairs(summary)
