"""One step's loss equals straight lines of diffusers' own calls, for every family and kind of prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from booth.registry import FAMILIES
from straight_lines import CASES, one_step

RESULTS = Path(__file__).parent.parent.parent / "results" / "parity.json"


@pytest.mark.parametrize(("family", "prediction"), CASES)
def test_one_steps_loss_equals_straight_lines(family: str, prediction: str, tmp_path: Path) -> None:
    ours, theirs = one_step(family, prediction, tmp_path)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_every_family_is_compared_and_its_losses_are_published() -> None:
    assert {family for family, _ in CASES} == set(FAMILIES)
    rows = json.loads(RESULTS.read_text())["losses"]
    assert [(row["family"], row["prediction"]) for row in rows] == CASES
