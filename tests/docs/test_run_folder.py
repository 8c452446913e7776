"""Who reads a run folder from its page alone finds what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import booth
from booth.config import RunConfig
from booth.core.errors import Interrupted
from booth.core.process import is_running
from booth.events import Event, Kind, Phase, read_events
from booth.train import callbacks, samples, selection
from booth.train.run import train
from booth.train.selection import Marks

PAGE = (Path(__file__).parent.parent.parent / "docs/reference/run-folder.md").read_text(encoding="utf-8")


def rows(after: str) -> dict[str, str]:
    """The first table after a heading: its first column's code to the rest of the row."""
    lines = PAGE[PAGE.index(after) :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| ---")) + 1
    table: dict[str, str] = {}
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        name, rest = line.strip("|").split("|", 1)
        table |= dict.fromkeys(re.findall(r"`([^`]+)`", name), rest)
    return table


def kinds() -> dict[str, set[str]]:
    """The words in code of each kind's last column."""
    table = rows("What the run is doing now")
    return {kind: set(re.findall(r"`(\w+)`", rest.rsplit("|", 1)[-1])) for kind, rest in table.items()}


class Script:
    """A judge that likes the second of its looks best."""

    def __init__(self, *_: Any) -> None:
        self._levels = iter([0.2, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5])

    def score(self) -> Marks:
        level = next(self._levels)
        return Marks({"subject": level}, [level, level + 0.01])

    def about(self) -> dict[str, Any]:
        return {"prompts": ["a dog"], "encoders": {}}


@pytest.fixture
def config(toy_base: Path, photos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run of every kind of event but those of mishaps."""
    from booth.generate.draw import draw

    monkeypatch.setattr(samples, "draw", lambda *a, **how: draw(*a, **how | {"steps": 1}))
    monkeypatch.setattr(callbacks, "JUDGES", {"checkpoints": Script})
    monkeypatch.setattr(selection, "WARM", 2)
    monkeypatch.setattr(callbacks, "Selection", lambda judge, cost, to: selection.Selection(judge, 0.0, to))
    settings = {"steps": 60, "learning_rate": 1e-3}
    about = {"base": str(toy_base), "until": "done", "previews": 4, "checkpoint_every": 5, "settings": settings}
    return RunConfig(photos=[photos_folder], noun="dog", out=tmp_path / "out", **about)


def told(folder: Path) -> Iterator[Event]:
    return read_events(folder / "events.jsonl")


@pytest.mark.essential
def test_a_run_tells_what_the_page_says(config: RunConfig, tmp_path: Path) -> None:
    work, seen = tmp_path / "out.run", []

    def watch(event: Event) -> None:
        if event.kind == "step" and event.done == 9:
            seen.append(sorted(p.relative_to(work).parts[0] for p in work.rglob("*") if p.is_file()))
            assert is_running(json.loads((work / "lock").read_text()))
            raise Interrupted("Stopped by the test.")

    with pytest.raises(Interrupted):
        train(config, listeners=[watch])
    assert {name.rstrip("/") for name in seen[0]} == {"lock", "run.json", "events.jsonl", "checkpoints", "previews"}
    for name in seen[0]:
        assert any(key == name or key.startswith(f"{name}/") for key in rows("### `OUT.run/`")), name
    paused = list(told(work))
    assert (paused[-1].kind, paused[-1].data["state"], paused[-1].data["exit_code"]) == ("end", "paused", 130)
    assert "`resume`" in paused[-1].data["reason"]
    train(config.model_copy(update={"resume": True}))
    assert not work.exists()
    events = list(told(tmp_path / "out" / "run"))
    assert events[: len(paused)] == paused  # appended to
    assert (events[-1].data["state"], events[-1].data["concept"]) == ("done", str(tmp_path / "out"))
    documented = kinds()
    assert {e.kind for e in events} >= set(documented) - {
        "recovery",
        "memory",
        "noise_levels",
        "estimate",
        "run",
    }  # the last is of races
    for event in events:
        assert set(event.data) <= documented[event.kind] | {"text"}, event
    frozen = json.loads((tmp_path / "out" / "run" / "run.json").read_text())
    assert set(frozen) == set(rows("## `run.json`"))


def test_the_page_knows_every_kind_and_phase() -> None:
    assert set(kinds()) == set(get_args(Kind))
    listed = PAGE[PAGE.index("- `phase`") : PAGE.index("- `done` and `total`")]
    assert set(re.findall(r"`([\w ]+)`", listed)) == {"phase", *get_args(Phase)}


def test_the_loss_of_every_step_and_the_choice_are_in_the_folder(config: RunConfig, tmp_path: Path) -> None:
    concept = booth.load(train(config).folder)
    events = list(told(tmp_path / "out" / "run"))
    losses = {e.done: e.data["loss"] for e in events if e.kind == "step"}
    assert sorted(losses) == list(range(1, concept.record.steps + 1))
    assert all(isinstance(loss, float) for loss in losses.values())
    scores = [e.data for e in events if e.kind == "score"]
    (choice,) = [e.data for e in events if e.kind == "choice"]
    assert [(s["step"], s["overall"]) for s in scores] == [(s["step"], s["overall"]) for s in choice["scored"]]
    assert choice["step"] == concept.record.selection["step"] == max(scores, key=lambda s: s["overall"])["step"]
    assert "highest" in choice["reason"]


def test_a_failed_run_says_why_and_a_refused_one_leaves_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from booth.core.errors import UsageError
    from booth.train.update import Update

    with pytest.raises(UsageError):
        train(config.model_copy(update={"memory": "no such plan"}))
    assert not (tmp_path / "out.run").exists()

    def broken(*_: Any) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(Update, "step", broken)
    with pytest.raises(RuntimeError):
        train(config)
    end = list(told(tmp_path / "out.run"))[-1]
    assert (end.kind, end.level) == ("end", "error")
    assert end.data == {"state": "failed", "reason": "a wheel came off", "error": "RuntimeError", "exit_code": 1}
