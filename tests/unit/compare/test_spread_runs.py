"""Races, studies and tunings by two worker processes come to the same bits as in this one."""

from __future__ import annotations

import hashlib
import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from booth.compare import tune as tuning
from booth.compare.budget import Budget
from booth.compare.course import Race
from booth.compare.experiment import Setting, Study
from booth.compare.race import run_race
from booth.compare.study import run_studies
from booth.compare.tune import tune
from booth.config import RunConfig
from booth.core.errors import BadDataError
from booth.evaluate import checkpoints
from booth.evaluate.protocol import Protocol
from booth.events import Event
from booth.executor.job import Executor

pytestmark = pytest.mark.usefixtures("one_thread")


def heard(kinds: list[tuple[str, str]]) -> Any:
    def listener(event: Event) -> None:
        if event.kind == "run":
            kinds.append((event.data.get("method") or event.data.get("arm") or "", event.data["status"]))

    return listener


def test_a_race(workers: Executor, toy_base: Path, five_photos: Path, tmp_path: Path) -> None:
    plan = Race(
        photos=[five_photos],
        noun="dog",
        out=tmp_path / "alone",
        protocol=Protocol(("a {} in the snow",), "file", (0,), drift=2, steps=1),
        base=str(toy_base),
        methods=("lora", "textual_inversion"),
        seeds=(0,),
        budget=Budget(steps=2),
    )
    run_race(plan)
    spread, told = replace(plan, out=tmp_path / "spread"), list[tuple[str, str]]()
    run_race(spread, executor=workers, listeners=[heard(told)])
    assert sorted(told) == sorted((method, status) for method in plan.methods for status in ("begun", "done"))
    for method in plan.methods:
        mine, theirs = (result(race.folder(method, 0) / "run.json") for race in (plan, spread))
        assert mine["status"] == "done"
        assert theirs == mine
        assert weights(spread.folder(method, 0) / "concept") == weights(plan.folder(method, 0) / "concept") != {}
    run_race(spread, executor=workers, listeners=[heard(told)])  # nothing is left
    assert told[-2:] == [(method, "done") for method in plan.methods]


def weights(folder: Path) -> dict[str, str]:
    """The hashes of a concept's tensors."""
    return {
        name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        for file in folder.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }


def result(file: Path) -> dict[str, Any]:
    """What does not depend on how busy the machine is."""
    told = json.loads(file.read_text())
    costs = ("seconds", "timings", "peak_memory_bytes")
    return _without_costs({key: value for key, value in told.items() if key not in costs})


def _without_costs(values: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if not key.startswith("cost")}
    return {key: _without_costs(value) if isinstance(value, dict) else value for key, value in kept.items()}


@pytest.mark.slow
def test_a_study(workers: Executor, toy_base: Path, tmp_path: Path) -> None:
    arms: dict[str, Any] = {"base": {}, "lora": {"method": "lora", "settings": {"steps": 2}}}
    prompts = ["a photo of {} in the snow"]
    setting = Setting.model_validate({"base": str(toy_base), "prompts": prompts, "steps": 1, "drift": 2, "arms": arms})
    words = dict.fromkeys(("name", "title", "question", "expected", "would_change"), "it")
    asked = {"subjects": ["cat:1"], "seeds": [0], "arms": ["base", "lora"], "columns": ["identity"]}
    study = Study.model_validate({**words, **asked})
    for name, executor in (("alone", None), ("spread", workers)):
        where = {"results": tmp_path / name / "results", "work": tmp_path / name / "work", "photographs": None}
        run_studies([study, study], setting, **where, device="cpu", executor=executor)
    alone, spread = (
        {f.name: result(f) for f in sorted((tmp_path / name / "results").rglob("*.json"))}
        for name in ("alone", "spread")
    )
    assert list(alone) == ["base-0.json", "lora-0.json"]
    for name, told in alone.items():
        assert {key: value for key, value in spread[name].items() if value != told.get(key)} == {}, name


@pytest.mark.slow
def test_a_tuning(workers: Executor, toy_base: Path, five_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "STEPS", runpy.run_path(checkpoints.__file__)["STEPS"])  # as the workers have it
    monkeypatch.setattr(tuning, "FOLDS", 2)
    monkeypatch.setattr(tuning, "RATES", (1.0, 4.0))
    settings = {"steps": 2, "rank": 2, "batch_size": 1}
    config = RunConfig(photos=[five_photos], noun="dog", base=str(toy_base), settings=settings)
    spread, alone = tune(config, executor=workers), tune(config)
    assert [t.units for t in spread.trials] == [t.units for t in alone.trials]


def test_what_a_worker_refuses_is_refused_here(workers: Executor, toy_base: Path, five_photos: Path) -> None:
    config = RunConfig(photos=[five_photos], noun="dog", base=str(toy_base), settings={"steps": 1})
    config.photos[0] = five_photos.with_name("gone")
    with pytest.raises(BadDataError, match="does not exist"):
        tuning._spread(config, [tuning.Attempt(1e-3, 1, 0)], "cpu", workers, tuning.CancelToken()).__next__()
