"""What `booth recommend` cites as measured is what the studies say."""

from __future__ import annotations

import json

from script_files import load

from booth.compare.recommend import MEASURED


def test_what_was_measured_is_what_the_studies_say() -> None:
    assert json.loads(MEASURED.read_text(encoding="utf-8")) == load("write_measured").measured()
