"""Running a race on the toy base: results are files, failures are rows, and it goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from booth import session as sessions
from booth.compare import course
from booth.compare import race as racing
from booth.compare.budget import Budget, settings_within
from booth.compare.course import Race, teaching_methods
from booth.compare.page import write_page
from booth.compare.race import run_race
from booth.config import RunConfig
from booth.core.errors import Interrupted, UsageError
from booth.evaluate import pictures
from booth.evaluate.protocol import Protocol
from booth.events import Event
from booth.registry import ENCODERS
from booth.session import Session
from booth.train import samples
from booth.train.estimate import Estimate
from booth.train.trainer import Trainer
from listening import texts

COST = Estimate(40.0, plus_minus=0.05, train_seconds=40.0, class_seconds=0.0, peak_memory_bytes=1, artifact_bytes=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Drawing is free: a picture's colour is its seed; and nobody else finds such pictures."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    from planes import Planes

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Image.Image]:
        return [Image.new("RGB", (32, 32), (s % 256, 90, len(p) % 256)) for p, s in zip(prompts, seeds, strict=True)]

    monkeypatch.setattr(pictures, "draw", draw)
    monkeypatch.setattr(samples, "draw", draw)
    monkeypatch.setitem(ENCODERS._entries, "dino-vits16", "planes:Planes")
    assert ENCODERS["dino-vits16"] is Planes


@pytest.fixture
def plan(toy_base: Path, five_photos: Path, tmp_path: Path) -> Race:
    return Race(
        photos=[five_photos],
        noun="dog",
        out=tmp_path / "race",
        protocol=Protocol(("a {} in the snow", "a red {}"), "file", (0, 1), drift=2, steps=1),
        base=str(toy_base),
        methods=("lora", "textual_inversion"),
        budget=Budget(steps=2),
        encoders=("dino-vits16",),
    )


class Count:
    """Which runs took steps."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def __call__(self, event: Event) -> None:
        if event.kind == "step":
            self.runs.append(f"{event.data['stage']} {event.data['step']}/{event.data['total']}")


def results(plan: Race) -> Iterator[dict[str, Any]]:
    return (json.loads(f.read_text()) for f in sorted(plan.out.glob("runs/*/run.json")))


@pytest.mark.essential
def test_an_interrupted_race_goes_on_and_runs_nothing_twice(plan: Race) -> None:
    class Stop(Count):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if event.kind == "step" and len(self.runs) == 3:
                raise Interrupted("Stopped by the test.")

    with pytest.raises(Interrupted):
        run_race(plan, listeners=[Stop()])
    assert [r["method"] for r in results(plan)] == ["lora"]
    count = Count()
    run_race(plan, listeners=[count])
    assert count.runs == [
        "textual_inversion 2/2",
        "lora 1/2",
        "lora 2/2",
        *(f"textual_inversion {i}/2" for i in (1, 2)),
    ]
    assert [(r["method"], r["seed"], r["status"], r["steps"]) for r in results(plan)] == [
        ("lora", 0, "done", 2),
        ("lora", 1, "done", 2),
        ("textual_inversion", 0, "done", 2),
        ("textual_inversion", 1, "done", 2),
    ]
    again = Count()
    run_race(plan, listeners=[again])
    assert again.runs == []
    page, told = write_page(plan.out)
    assert set(told["methods"]) == {"lora", "textual_inversion"}
    assert "untouched base" in page.read_text(encoding="utf-8")


def test_a_failed_method_is_a_row_and_is_tried_again(plan: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(plan, seeds=(0,))
    teach = racing._teach

    def failing(race: Race, method: str, *rest: Any) -> Any:
        if method == "lora":
            raise RuntimeError("a wheel came off")
        return teach(race, method, *rest)

    monkeypatch.setattr(racing, "_teach", failing)
    told: list[str] = []
    run_race(plan, listeners=[texts(told)])
    assert [(r["method"], r["status"]) for r in results(plan)] == [("lora", "failed"), ("textual_inversion", "done")]
    assert any("a wheel came off" in text for text in told)
    assert "lora with seed 0 failed" in " ".join(write_page(plan.out)[1]["verdict"])
    monkeypatch.setattr(racing, "_teach", teach)
    run_race(plan, listeners=[texts(told)])
    assert {r["status"] for r in results(plan)} == {"done"}


def test_two_races_are_not_mixed_but_methods_may_join(plan: Race) -> None:
    plan = replace(plan, seeds=(0,), methods=("lora",))
    run_race(plan)
    with pytest.raises(UsageError, match=r"another race: budget is different.*`out`"):
        run_race(replace(plan, budget=Budget(steps=3)))
    run_race(replace(plan, methods=("textual_inversion",)))
    assert len(list(results(plan))) == 2


def test_a_budget_of_seconds_becomes_steps(plan: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "estimate", lambda self: COST)
    plan = replace(plan, seeds=(0,), methods=("lora",), budget=Budget(seconds=10), settings={"lora": {"steps": 8}})
    run_race(plan)
    assert [r["steps"] for r in results(plan)] == [2]


def test_an_unknown_method_stops_before_anything_is_run(plan: Race) -> None:
    with pytest.raises(UsageError, match="Did you mean 'lora'"):
        run_race(replace(plan, methods=("lorra",)))
    assert not plan.out.exists()


def test_a_race_is_not_continued_on_another_device(plan: Race) -> None:
    plan = replace(plan, seeds=(0,), methods=("lora",))
    run_race(plan)
    file = plan.out / "race.json"
    file.write_text(file.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    with pytest.raises(UsageError, match=r"race on cuda, and this one is on cpu.*`device=cuda`"):
        run_race(plan)


def test_what_is_held_out_is_not_learned_from(plan: Race, five_photos: Path) -> None:
    held = sorted(five_photos.glob("*.png"))[3:]
    with pytest.raises(UsageError, match=rf"{held[0].name}, {held[1].name} would be learned from.*another folder"):
        run_race(replace(plan, held_out=held))


def test_the_photos_are_written_before_what_says_that_all_is_there(plan: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    write = course.write_whole

    def writing(file: Path, text: str) -> None:
        if file.name == course.REFERENCES:
            seen.append(len(list((plan.out / "photos").glob("*.png"))))
        write(file, text)

    monkeypatch.setattr(course, "write_whole", writing)
    monkeypatch.setattr(racing, "_attempt", lambda *_: {"method": "lora", "seed": 0, "status": "failed", "error": "x"})
    run_race(plan)
    assert seen == [5]


def test_a_budget_of_seconds_holds_the_class_pictures_too(plan: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "estimate", lambda self: replace(COST, class_seconds=10.0))
    settings = {"steps": 80, "prior_weight": 1.0, "class_pictures": 20}
    config = RunConfig(photos=list(plan.photos), noun="dog", method="dreambooth", base=plan.base, settings=settings)
    found = settings_within(Budget(seconds=20), config, Session(plan.base))
    assert found["steps"] == 20  # 10 of the 20 seconds are left, a quarter of 40


def test_a_race_of_every_method_loads_the_base_once(plan: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = sessions.load_family

    def counting(base: str, *rest: Any) -> Any:
        loads.append(base)
        return load(base, *rest)

    monkeypatch.setattr(sessions, "load_family", counting)
    settings = {"dreambooth": {"prior_weight": 0.0}, "custom_diffusion": {"prior_weight": 0.0}}
    plan = replace(plan, methods=(), seeds=(0,), budget=Budget(steps=2), settings=settings)
    run_race(plan)
    found = list(results(plan))
    assert {r["method"]: r["status"] for r in found} == dict.fromkeys(teaching_methods(), "done")
    assert len(found) >= 14
    assert loads == [plan.base]
    with Session(plan.base) as session:  # what the last of them was taught does not depend on those before it
        last = found[-1]["method"]
        alone = replace(plan, out=plan.out.with_name("alone"), methods=(last,))
        run_race(alone, session=session)
        assert session.loads == 1
    first, second = (weights(race.folder(last, 0) / "concept") for race in (plan, alone))
    assert first == second


def weights(folder: Path) -> dict[str, str]:
    """The hashes of a concept's weights."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: about["sha256"] for name, about in files.items() if name.endswith(".safetensors")}
