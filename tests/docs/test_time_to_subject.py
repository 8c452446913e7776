"""The page on how soon a subject is learned is what was measured."""

from __future__ import annotations

import json

from script_files import load

pages = load("time_to_subject_page", "benchmarks")


def test_the_page_is_what_was_measured() -> None:
    measured = json.loads(pages.MEASURED.read_text(encoding="utf-8"))
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(measured), "run benchmarks/time_to_subject_page.py"
