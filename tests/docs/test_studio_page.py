"""The page on what the studio survives and costs is what was measured, and within what was promised."""

from __future__ import annotations

import json

import pytest
from script_files import load

pages = load("studio_page", "benchmarks")


def test_the_page_is_of_the_results_that_are_kept() -> None:
    page = (pages.ROOT / "docs" / "studies" / "studio.md").read_text(encoding="utf-8")
    assert page == pages.written(), "run `python benchmarks/studio_page.py`"


def test_no_fault_left_a_false_state_or_lost_anything() -> None:
    told = json.loads(pages.FAULTS.read_text(encoding="utf-8"))
    assert told["faults"] >= 200
    assert {line["fault"] for line in told["table"]} == set(pages.NAMES)
    for line in told["table"]:
        assert (line["false_states"], line["pictures_lost"], line["checkpoints_lost"]) == (0, 0, 0), line["fault"]
    assert told["problems"] == []
    assert told["ending"]["problems"] == []
    assert told["ending"]["with_the_weights_of_the_undisturbed"] == told["ending"]["trainings_done"] > 0


@pytest.mark.skipif(not pages.SPEED.is_file(), reason="python benchmarks/studio_speed.py measures it")
def test_pages_are_light_and_the_run_is_not_held_up() -> None:
    told = json.loads(pages.SPEED.read_text(encoding="utf-8"))
    assert max(page["bytes"] for page in told["pages"]) <= 150_000
    assert told["overhead"]["processor_share"] <= 0.02
