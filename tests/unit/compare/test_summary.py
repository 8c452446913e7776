"""A race's table and verdict, from runs whose numbers are known."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from booth.compare.budget import Budget, _shares
from booth.compare.page import write_page
from booth.compare.summary import summarise
from booth.core.errors import BadDataError
from booth.core.statistics import crossed, interval
from booth.evaluate.protocol import Protocol


def score(metric: str, units: Sequence[float], part: str = "", encoder: str = "dino-vits16", **more: Any) -> dict:
    value = sum(units) / len(units) if units else more.pop("value")
    low, high = interval(units) if units else (value, value)
    return {"metric": metric, "part": part, "encoder": encoder, "value": value, "low": low, "high": high} | {
        "units": list(units),
        **more,
    }


def run(method: str, seed: int, likeness: Sequence[float], seconds: float, size: float) -> dict[str, Any]:
    metrics = {
        "subject_similarity/dino-vits16": score("subject_similarity", likeness),
        "cost/seconds": score("cost", [], "seconds", "", value=seconds),
        "cost/bytes": score("cost", [], "bytes", "", value=size),
    }
    about = {"settings": {"steps": 5}, "steps": 5, "seconds": seconds, "device": "cpu", "versions": {}, "refused": {}}
    return {"kind": "race run", "method": method, "seed": seed, "status": "done", "metrics": metrics, **about}


def race(folder: Path, *runs: dict[str, Any]) -> Path:
    protocol = Protocol(("a {} in the snow", "a red {}"), "file", (0,)).to_json()
    plan = {"noun": "dog", "token": "sks", "photos": ["x"], "protocol": protocol, "budget": Budget(steps=5).to_json()}
    folder.mkdir(exist_ok=True)
    (folder / "race.json").write_text(json.dumps({"plan": plan}))
    for i, result in enumerate(runs):
        file = folder / "runs" / f"{result['method']}-{result['seed']}" / "run.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(result))
        os.utime(file, (i + 1, i + 1))
    return folder


GOOD, NEAR, BAD = [0.7, 0.5, 0.8, 0.6], [0.72, 0.47, 0.81, 0.59], [0.4, 0.2, 0.5, 0.3]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return race(
        tmp_path / "race",
        run("lora", 0, GOOD, 10, 3000),
        run("dreambooth", 0, NEAR, 40, 90_000),
        run("textual_inversion", 0, BAD, 20, 100),
        {"kind": "race run", "method": "two_stage", "seed": 0, "status": "failed", "error": "Out of memory."},
        run("lora", 1, GOOD, 12, 3000),
        run("dreambooth", 1, NEAR, 44, 90_000),
        run("textual_inversion", 1, BAD, 22, 100),
    )


def test_the_best_is_marked_and_what_is_within_noise(finished: Path) -> None:
    summary = summarise(finished)
    likeness = summary.column("subject_similarity")
    assert likeness is not None
    assert likeness.title == "DINO (dino-vits16)"
    cells = likeness.cells
    assert [m for m, c in cells.items() if c.best] == ["lora"]
    assert [m for m, c in cells.items() if c.within_noise] == ["dreambooth"]
    assert cells["lora"].value == pytest.approx(0.65)
    assert cells["lora"].low < 0.65 < cells["lora"].high
    seconds = summary.column("cost", "seconds")
    assert seconds is not None
    assert [m for m, c in seconds.cells.items() if c.best] == ["lora"]
    assert (seconds.cells["lora"].value, seconds.cells["lora"].low, seconds.cells["lora"].high) == (11, 10, 12)


def test_the_verdict_names_the_winner_for_what_and_who_failed(finished: Path) -> None:
    page, told = write_page(finished)
    assert told["winners"]["the smallest file"]["method"] == "textual_inversion"
    assert told["winners"]["likeness to the subject"]["within_noise"] == ["dreambooth"]
    text = " ".join(told["verdict"])
    assert "lora, dreambooth do not differ beyond noise" in text
    assert "For training time, lora wins" in text
    assert "two_stage with seed 0 failed: Out of memory." in text
    assert told["methods"]["two_stage"] == {"runs": 0, "columns": {}}
    shown = page.read_text(encoding="utf-8")
    assert "two_stage: failed" in shown
    assert "≈" in shown
    assert "<polyline" in shown  # the front: lora is cheaper, textual inversion smaller
    assert json.loads((finished / "comparison.json").read_text())["verdict"] == told["verdict"]


def test_nobody_wins_where_nobody_managed(tmp_path: Path) -> None:
    folder = race(tmp_path / "race", run("lora", 0, GOOD, 1, 1), run("dreambooth", 0, GOOD, 2, 2))
    for file in folder.glob("runs/*/run.json"):
        told = json.loads(file.read_text())
        told["metrics"]["joint/world-judges"] = score("joint", [0.0, 0.0], encoder="world-judges")
        file.write_text(json.dumps(told))
    text = " ".join(write_page(folder)[1]["verdict"])
    assert "For reproducing the subject in the scene asked for, no method managed more" in text
    assert "For likeness to the subject, lora, dreambooth are equal (DINO (dino-vits16) 0.650)." in text
    base = {"base": {"subject_similarity/dino-vits16": score("subject_similarity", [0.9, 0.9])}}
    (folder / "references.json").write_text(json.dumps(base))
    _, told = write_page(folder)
    assert "For likeness to the subject, no method managed more than the untouched base" in " ".join(told["verdict"])
    assert "compared with the photos learned from" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_method_without_a_result_did_not_run_with_one_seed(tmp_path: Path) -> None:
    failed = {"kind": "race run", "method": "lora", "seed": 0, "status": "failed", "error": "x"}
    several = [run("dreambooth", seed, GOOD, 1, 1) for seed in (0, 1)]
    verdict = write_page(race(tmp_path / "race", failed, *several))[1]["verdict"]
    assert not any("one training seed" in s for s in verdict)


def test_one_training_seed_is_owned_up_to(tmp_path: Path) -> None:
    folder = race(tmp_path / "race", run("lora", 0, GOOD, 1, 1), run("dreambooth", 0, BAD, 2, 2))
    assert any("one training seed only" in s for s in write_page(folder)[1]["verdict"])


def test_a_number_that_not_all_runs_of_a_method_have_is_left_out(tmp_path: Path) -> None:
    other = run("lora", 1, GOOD, 1, 1)
    del other["metrics"]["cost/bytes"]
    folder = race(tmp_path / "race", run("lora", 0, GOOD, 1, 1), other, run("dreambooth", 0, BAD, 2, 2))
    column = summarise(folder).column("cost", "bytes")
    assert column is not None
    assert list(column.cells) == ["dreambooth"]


def test_a_race_without_a_result_has_a_page(tmp_path: Path) -> None:
    failed = {"kind": "race run", "method": "lora", "seed": 0, "status": "failed", "error": "x"}
    page, told = write_page(race(tmp_path / "race", failed))
    assert any("no winner" in s for s in told["verdict"])
    assert "lora: failed" in page.read_text(encoding="utf-8")
    with pytest.raises(BadDataError, match="holds no race"):
        write_page(tmp_path)


def test_crossed_resamples_runs_and_units() -> None:
    rng = np.random.default_rng(0)
    units, seeds = rng.normal(0, 1, 40), np.array([-1.0, 0.0, 1.0])
    found = crossed((5 + units[None] + seeds[:, None]).tolist())
    assert found.mean == pytest.approx(5 + units.mean())
    # The variance is that of the units' mean plus that of the seeds' mean.
    expected = 1.96 * (units.var() / 40 + seeds.var() / 3) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.1)
    assert crossed([[0.3, 0.9]] * 2, [[0.2, 0.8]] * 3).low == pytest.approx(0.1)


def test_a_budget_of_steps_is_shared_as_usual_between_stages() -> None:
    from booth.config import RunConfig
    from booth.config.settings import method_config

    def shares(method: str, steps: int) -> dict[str, int]:
        config = RunConfig(photos=[Path("x")], noun="dog", method=method)
        return _shares(config, method_config(method, "full", {}), steps)

    assert shares("lora", 77) == {"steps": 77}
    assert shares("two_stage", 160) == {"token_steps": 60, "steps": 100}  # 120 and 200 by default
    assert Budget(seconds=90).in_words == "90 seconds of training each"
