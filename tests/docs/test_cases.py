"""The page of cases names tests that there are, and every row of it names one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "cases.md"


def test_every_case_is_held_by_a_test_that_there_is() -> None:
    files = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.endswith(("--- |", "held by |"))]
    assert len(rows) > 60
    for row in rows:
        *cells, held = row.strip("| ").split(" | ")
        assert len(cells) == 3, row
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", held)
        assert named, row
        assert held == ", ".join(f"`{file}::{test}`" for file, test in named), row
        for file, test in named:
            assert re.search(rf"^def {test}\(", files.get(file, ""), re.MULTILINE), f"{file}::{test} is no test"
