"""The page on what was tried says what the scripts found, and what they found is nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import reliability_page

    yield reliability_page
    del sys.modules["reliability_page"]


def test_the_page_is_what_was_found(written: Any) -> None:
    assert written.PAGE.read_text(encoding="utf-8") == written.page(), "run benchmarks/reliability_page.py"


def total(name: str) -> dict[str, int]:
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))["total"]


def test_no_kill_lost_anything() -> None:
    kills = total("kills")
    assert kills["kills"] >= 1000
    assert [kills.get(what, 0) for what in ("unreadable", "silent restarts", "wrong resumes", "failed")] == [0] * 4


def test_no_run_that_was_asked_to_end_lost_a_step() -> None:
    rows = json.loads((ROOT / "results" / "stops.json").read_text(encoding="utf-8"))["rows"]
    assert {row["asked"] for row in rows} == {"training", "fleet", "node"}
    for row in rows:
        assert [row[what] for what in ("steps lost", "unreadable", "ended otherwise")] == [0] * 3
        assert 0 < row["with steps to save"] <= row["runs"]


def test_no_configuration_ended_in_a_traceback() -> None:
    hostile = json.loads((ROOT / "results" / "hostile.json").read_text(encoding="utf-8"))
    assert hostile["wrong"] == []
    assert hostile["examples"] >= 10_000
