"""A worker that teaches several runs in one pass: each lands in its place, and fails and goes on alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from booth.core.family import Family
from booth.events import Event
from booth.executor.here import ThisProcess
from booth.families.stable_diffusion import StableDiffusion
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder

Asked = Callable[..., list[Entry]]
WEIGHTS = "pytorch_lora_weights.safetensors"
TOGETHER = Fleet(evaluate=False, together=3)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass through the denoiser has."""
    counted: list[int] = []
    predict = StableDiffusion.predict

    def counting(self: Family, x_t: Any, *rest: Any) -> Any:
        counted.append(len(x_t))
        return predict(self, x_t, *rest)

    monkeypatch.setattr(StableDiffusion, "predict", counting)
    return counted


def go(entries: list[Entry], fleet: Fleet, place: Folder, **how: Any) -> Any:
    with ThisProcess(**how) as here:
        return run_fleet(entries, fleet, place, here, lambda text: None)


def weights(place: Folder, subject: str) -> dict[str, Any]:
    (file,) = Path(place.url).glob(f"subjects/{subject}/*/concept/{WEIGHTS}")
    return load_file(file)


def test_each_run_lands_in_its_place_as_if_it_were_taught_alone(
    asked: Asked, subjects: Any, unmeasured: Fleet, passes: list[int], tmp_path: Path
) -> None:
    photos = subjects("rex", "tom", "bad", "kim")
    shutil.rmtree(photos / "bad")
    (photos / "bad").mkdir()
    (photos / "bad" / "1.png").write_bytes(b"no picture")
    together, alone = Folder(tmp_path / "together"), Folder(tmp_path / "alone")
    summary = go(asked(photos), TOGETHER, together)
    assert sorted(name.split("/")[0] for name in summary.done) == ["kim", "rex", "tom"]
    assert [name.split("/")[0] for name in summary.failed] == ["bad"]
    assert max(passes) == 4  # of two runs, for the third of the first group had no photos
    go(asked(photos), unmeasured, alone)
    for subject in ("rex", "tom", "kim"):
        mine, theirs = weights(together, subject), weights(alone, subject)
        assert mine.keys() == theirs.keys() != set()
        for name, tensor in mine.items():
            assert float((tensor - theirs[name]).abs().max()) <= 2e-3 * max(float(tensor.abs().max()), 1e-12), name
    assert not [name for name in together.names() if "/checkpoints/" in name and "/bad/" not in name]


@pytest.mark.slow
def test_a_group_that_was_stopped_goes_on(asked: Asked, subjects: Any, passes: list[int], tmp_path: Path) -> None:
    photos, place = subjects("rex", "tom"), Folder(tmp_path / "place")
    seen: list[str] = []

    def die(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 2:
            raise MemoryError

    first = go(asked(photos), Fleet(evaluate=False, together=2, failures=1), place, on_event=die)
    assert len(first.failed) == 2
    passes.clear()

    def listen(event: Event) -> None:
        if event.kind == "step":
            seen.append(event.data["subject"])

    second = go(asked(photos), Fleet(evaluate=False, together=2, retry=True), place, on_event=listen)
    assert len(second.done) == 2
    assert sorted(seen).count("rex") < 3  # from the checkpoint of its first or second step


@pytest.mark.slow
def test_runs_of_other_shapes_are_taught_by_themselves(
    asked: Asked, subjects: Any, passes: list[int], tmp_path: Path
) -> None:
    photos, place = subjects("rex", "tom"), Folder(tmp_path / "place")
    entries = asked(photos) + asked(photos, rank=3) + asked(photos, dropout=0.5)
    assert len(go(entries, TOGETHER, place).done) == 6
    assert sorted(passes).count(4) == 6  # three steps of two runs of a rank each; dropout has its own numbers
    assert sorted(passes).count(2) == 6
