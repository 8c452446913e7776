"""The page on how fast it is says what was measured, beside what other programs need on the same machine."""

from __future__ import annotations

from script_files import load

from booth.bench.report import beside, read, read_peers

script = load("write_bench", "scripts")


def test_the_page_is_what_was_measured() -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.text(), "run scripts/write_bench.py"


def test_what_other_programs_need_stands_beside_a_measurement_that_there_is() -> None:
    measured, peers = read(script.RESULTS), read_peers(script.RESULTS)
    verdicts = [verdict for bench in measured for verdict in beside(bench, peers)]
    assert len(verdicts) == len(peers) > 0
    assert all(verdict.passed for verdict in verdicts), [verdict.told for verdict in verdicts]
