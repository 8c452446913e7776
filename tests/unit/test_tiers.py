"""The default run leaves out by recorded seconds what is long, and no function but the longest."""

from __future__ import annotations

import re
from pathlib import Path

from tiers import CASE, FUNCTION, function_of, left_out, read_durations

ROOT = Path(__file__).parents[2]


def test_the_shortest_case_of_a_function_stays() -> None:
    tests = [("a.py", f"test_product[{i}]", False) for i in range(3)]
    seconds = {("a.py", "test_product[0]"): 2.0, ("a.py", "test_product[1]"): 1.0, ("a.py", "test_product[2]"): 0.1}
    assert left_out(tests, seconds) == {tests[0][:2], tests[1][:2]}
    assert left_out(tests[:2], seconds) == {tests[0][:2]}


def test_a_long_function_is_left_out_unless_it_is_essential() -> None:
    seconds = {("a.py", f"test_long[{i}]"): FUNCTION + i for i in range(2)}
    assert left_out([("a.py", f"test_long[{i}]", False) for i in range(2)], seconds) == set(seconds)
    assert left_out([("a.py", f"test_long[{i}]", True) for i in range(2)], seconds) == {("a.py", "test_long[1]")}


def test_what_was_not_recorded_runs() -> None:
    assert not left_out([("a.py", "test_new[0]", False), ("a.py", "test_new[1]", False)], {})


def test_what_is_recorded_is_there() -> None:
    recorded = read_durations()
    assert min(recorded.values()) >= CASE
    for file, name in recorded:
        assert re.search(rf"^ *def {function_of(name)}\(", (ROOT / file).read_text(), re.MULTILINE), (file, name)
