"""A fleet that measures: the numbers of a report, and untouched drawings that subjects share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from booth.evaluate import pictures
from booth.executor.here import ThisProcess
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder


def test_every_subject_is_measured_and_the_untouched_base_is_drawn_once(
    asked: Callable[..., list[Entry]], subjects: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = pictures.draw

    def draw(model: Any, prompts: list[str], seeds: list[int], **how: Any) -> Any:
        drawn.append(len(prompts))
        return real(model, prompts, seeds, **how | {"steps": 1})

    monkeypatch.setattr(pictures, "draw", draw)
    place = Folder(tmp_path / "place")
    with ThisProcess() as here:
        summary = run_fleet(asked(subjects("rex", "tom"), steps=1), Fleet(), place, here, lambda text: None)
    assert len(summary.done) == 2
    assert len(drawn) == 4 + 3 + 3  # of the base named, plain, class and unrelated; of each concept all but plain
    lines = [json.loads(line) for line in (place.read("registry.jsonl") or b"").splitlines()]
    assert all({"fidelity", "drift", "copying"} <= line["metrics"].keys() for line in lines)
    page = (place.read("report.html") or b"").decode()
    for title in ("Subject fidelity", "Drift of the class", "Copies of photos", "The worst", "Cost"):
        assert title in page
    assert len([n for n in place.names() if n.endswith("/evaluation.json")]) == 2
