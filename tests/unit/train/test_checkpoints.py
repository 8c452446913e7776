"""Checkpoints keep every bit, are never half there, and never hold what is not finite."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest
import torch

from booth.core import commit
from booth.core.errors import DamagedFileError, DiskFullError, NotFiniteError
from booth.train import checkpoints
from booth.train.checkpoints import AUTOMATIC, BUDGET, WRITE_SPEED, Checkpoints, Pace, require_finite


def make(folder: Path, heard: list[str] | None = None) -> Checkpoints:
    return Checkpoints(folder, (heard if heard is not None else []).append)


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3, 2), value), "step": torch.tensor(value)}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_every_bit_comes_back(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    saved = {
        "float": torch.randn(3, 5),
        "half": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(math.pi),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "whole": shared,
        "part": shared[:2],  # the same memory, as the 8-bit optimiser's tables have
        "transposed": shared.T,
        "empty": torch.empty(0),
    }
    values = {"rate": 0.1 + 0.2, "tiny": 5e-324, "growth": math.inf, "none": None, "nested": {"1": [True, "x"]}}
    make(tmp_path).save(7, saved, values)
    found = make(tmp_path).latest()
    assert found is not None
    assert found.done == 7
    assert found.values == values
    assert found.tensors.keys() == saved.keys()
    for name, tensor in saved.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor), name


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert make(tmp_path / "new").latest() is None


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    kept = make(tmp_path)
    for step in (50, 100, 999_950, 1_000_000):
        kept.save(step, tensors(step), {})
    assert names(tmp_path) == ["ckpt-1000000", "ckpt-999950"]
    newest = make(tmp_path).latest()
    assert newest is not None
    assert newest.done == 1_000_000


def test_the_older_goes_only_once_the_newer_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = make(tmp_path)
    kept.save(1, tensors(), {})
    kept.save(2, tensors(), {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DiskFullError, match=r"bytes are missing.*`resume`"):
        kept.save(3, tensors(), {})
    assert names(tmp_path) == ["ckpt-000001", "ckpt-000002"]
    assert kept.latest() is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_saved(tmp_path: Path, bad: float) -> None:
    kept = make(tmp_path)
    kept.save(1, tensors(), {})
    with pytest.raises(NotFiniteError, match="w is not finite"):
        kept.save(2, {"w": torch.tensor([1.0, bad])}, {})
    assert names(tmp_path) == ["ckpt-000001"]


def test_whole_numbers_are_always_finite() -> None:
    require_finite({"i": torch.tensor([1]), "b": torch.tensor([True])})


def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    make(tmp_path).save(1, tensors(1), {"from": 1})
    make(tmp_path).save(2, tensors(2), {"from": 2})
    (tmp_path / "ckpt-000002" / "state.json").write_text('{"from": 3}')
    heard: list[str] = []
    found = make(tmp_path, heard).latest()
    assert found is not None
    assert (found.done, found.values) == (1, {"from": 1})
    assert len(heard) == 1
    assert "ckpt-000002 is damaged" in heard[0]
    assert "state.json" in heard[0]


def test_with_none_undamaged_nothing_is_made_up(tmp_path: Path) -> None:
    kept = make(tmp_path / "checkpoints")
    for step in (1, 2):
        (kept.save(step, tensors(), {}) / "state.safetensors").unlink()
    with pytest.raises(DamagedFileError, match="train again"):
        kept.latest()


def test_a_damaged_one_does_not_count_among_the_two(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        make(tmp_path).save(step, tensors(), {})
    (tmp_path / "ckpt-000003" / "manifest.json").unlink()
    kept = make(tmp_path)
    assert kept.latest() is not None
    kept.save(4, tensors(), {})
    assert names(tmp_path) == ["ckpt-000002", "ckpt-000004"]


def test_a_damaged_one_is_replaced_under_its_name(tmp_path: Path) -> None:
    for step in (1, 2):
        make(tmp_path).save(step, tensors(), {})
    (tmp_path / "ckpt-000002" / "manifest.json").unlink()
    kept = make(tmp_path)
    kept.latest()
    kept.save(2, tensors(), {"again": True})
    found = make(tmp_path).latest()
    assert found is not None
    assert found.values == {"again": True}
    assert names(tmp_path) == ["ckpt-000001", "ckpt-000002"]


def test_nothing_needs_pickle(tmp_path: Path) -> None:
    folder = make(tmp_path).save(1, tensors(), {"a": 1})
    assert names(folder) == ["manifest.json", "state.json", "state.safetensors"]
    manifest = json.loads((folder / commit.MANIFEST).read_text())
    assert manifest["step"] == 1
    assert manifest["tensors"] == 2
    assert manifest["schema"] == 1
    assert set(manifest["files"]) == {"state.json", "state.safetensors"}


@pytest.mark.parametrize(("every", "due"), [(3, [3, 6, 9]), (1, list(range(1, 10))), (0, [])])
def test_an_interval_that_was_asked_for_is_kept(every: int, due: list[int]) -> None:
    pace = Pace(every)
    pace.spent(10**9, 10**9)  # however slow the disk
    assert [done for done in range(1, 10) if pace.due(done, 10**12)] == due


def test_the_end_of_a_stage_is_due_unless_nothing_is() -> None:
    assert Pace(100).due(7, 1, boundary=True)
    assert not Pace(0).due(7, 1, boundary=True)


def test_automatic_checkpoints_cost_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now)
    size, saving = 10**9, 4.0  # seconds that a checkpoint takes
    pace, saved = Pace(None), 0
    for done in range(1, 5001):
        now += 0.2
        if pace.due(done, size):
            assert done % AUTOMATIC == 0
            now += saving
            saved += 1
            pace.spent(size, saving)
            assert pace.seconds <= BUDGET * now * 1.2  # the first is planned at a supposed speed
    assert saved == int(BUDGET * now / saving)


def test_a_first_automatic_checkpoint_waits_until_it_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now)
    pace = Pace(None)
    now = 1.0
    assert not pace.due(AUTOMATIC, int(WRITE_SPEED))
    now = 1 / BUDGET
    assert pace.due(AUTOMATIC, int(WRITE_SPEED))
