"""`booth bench`: what a step costs, beside what was planned and beside what another program needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from booth.bench import measure
from booth.bench.live import LiveTensors, tensors_of
from booth.bench.measure import Bench, planned
from booth.bench.report import PEERS, beside, line, page, read, read_peers, rows, save
from booth.bench.shapes import random_base
from booth.cli.app import app
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.families.loading import load_family
from booth.families.memory import memory_plans, task_of
from harness import make_method, tensors

pytestmark = pytest.mark.xdist_group("bench")  # one measurement serves several tests

METHODS = ["lora", "pivotal_tuning", "dreambooth"]


def quicken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(measure, "SIDES", {"cpu": 32, "cuda": 32})
    patch.setattr(measure, "LONG", 0.0)
    patch.setattr(measure, "start_seconds", lambda: 1.5)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@pytest.fixture(scope="module")
def measured(toy_base: Path) -> Iterator[Bench]:
    """What several tests read of one measurement."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        yield measure.bench(str(toy_base), methods=METHODS, steps=2, draws=False)


@pytest.mark.slow
def test_every_stage_of_every_method_is_measured(measured: Bench, toy_base: Path) -> None:
    assert [row.method for row in measured.methods] == [
        "lora", "pivotal_tuning, token", "pivotal_tuning, lora", "dreambooth"
    ]  # fmt: skip
    weights = sum(t.numel() * t.element_size() for t in tensors(load_family(str(toy_base))).values())
    for row in measured.methods:
        assert row.seconds > 0
        assert row.share == pytest.approx(row.gigaflop / row.seconds / measured.gigaflop_per_second, rel=0.01)
        assert row.peak_bytes > weights
        assert row.planned_bytes > weights
    lora, dreambooth = measured.methods[0], measured.methods[-1]
    assert dreambooth.peak_bytes > lora.peak_bytes, "gradients and moments of every weight"
    assert measured.picture_seconds is None


def test_settings_are_those_of_the_methods_that_have_them(toy_base: Path) -> None:
    one, three = (
        measure.bench(
            str(toy_base),
            methods=["lora"],
            steps=1,
            draws=False,
            settings={"batch_size": n, "vectors": 2, "prior_weight": 0.0},
        )
        for n in (1, 3)
    )
    assert (one.methods[0].rows, three.methods[0].rows) == (1, 3)
    assert three.methods[0].gigaflop == pytest.approx(3 * one.methods[0].gigaflop, rel=0.05)


def test_what_the_base_is_asked_counts_as_much_as_a_step_has_of_it(toy_base: Path) -> None:
    asked, plain = (
        measure.bench(str(toy_base), methods=["lora"], steps=1, draws=False, settings=settings).methods[0]
        for settings in ({"batch_size": 2}, {"batch_size": 4, "prior_weight": 0.0})
    )
    assert (asked.rows, plain.rows) == (4, 4)
    assert plain.gigaflop < asked.gigaflop < 1.5 * plain.gigaflop


def test_the_base_is_left_as_it_was(toy: Family) -> None:
    before = {name: t.clone() for name, t in tensors(toy).items()}
    measure._measured("dreambooth", toy, 1, {}, "cpu", "fp32", 1e9)
    assert all(torch.equal(t, before[name]) for name, t in tensors(toy).items())


def test_what_is_planned_is_what_the_memory_plan_says(toy: Family, toy_base: Path) -> None:
    for name in ("lora", "dreambooth"):
        method = make_method(name)
        plans = memory_plans(toy_base, task_of(method, [], side=toy.resolution), 0)
        assert planned(toy, method, "fp32", "cpu", False) == next(p.bytes for p in plans if p.name == "fp32")


@pytest.mark.slow
def test_it_goes_through_json_and_onto_a_page(measured: Bench, tmp_path: Path) -> None:
    assert Bench.of_json(json.loads(json.dumps(measured.to_json()))) == measured
    file = save(measured, tmp_path)
    assert save(replace(measured, created="later"), tmp_path) == file, "the same machine and base"
    assert read(tmp_path) == [replace(measured, created="later")]
    assert "\n" not in line(measured)
    assert all(row.method in page([measured], []) for row in measured.methods)
    assert len({len(row) for row in rows(measured)}) == 1
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(BadDataError, match="no measurement"):
        read(tmp_path)


def peers(measured: Bench, folder: Path, share: float, **other: object) -> Path:
    """A folder that says that another program needs `share` of the seconds."""
    row = measured.methods[0]
    entry = {"bench": measured.name, "method": row.method, "rows": row.rows, "seconds": share * row.seconds}
    (folder / PEERS).write_text(json.dumps([entry | {"what": "another", "limit": 1.25} | other]))
    return folder


@pytest.mark.slow
def test_it_stands_beside_what_else_ran_on_the_same_machine_alone(measured: Bench, tmp_path: Path) -> None:
    (verdict,) = beside(measured, read_peers(peers(measured, tmp_path, 2.0)))
    assert verdict.ratio == pytest.approx(0.5)
    assert verdict.passed
    (verdict,) = beside(measured, read_peers(peers(measured, tmp_path, 0.5)))
    assert not verdict.passed
    assert "2.00 times another, over the limit of 1.25" in verdict.told
    assert "2.00 times another" in page([measured], read_peers(tmp_path))
    assert not beside(measured, read_peers(peers(measured, tmp_path, 0.5, bench="elsewhere")))
    assert not beside(measured, read_peers(peers(measured, tmp_path, 0.5, rows=99)))
    assert read_peers(tmp_path / "nowhere") == []
    (tmp_path / PEERS).write_text('[{"method": "lora"}]')
    with pytest.raises(BadDataError, match="cannot be read"):
        read_peers(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "code"), [(2.0, 0), (0.5, 1)])
def test_the_command_ends_with_1_where_a_limit_is_passed(
    measured: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, code: int
) -> None:
    monkeypatch.setattr(measure, "bench", lambda *args, **options: measured)
    folder = peers(measured, tmp_path, share)
    ended = CliRunner().invoke(app, ["bench", "--json", "--check", str(folder), "--out", str(tmp_path / "out")])
    assert ended.exit_code == code
    told = json.loads(ended.stdout.splitlines()[-1])
    assert [each["passed"] for each in told["beside"]] == [code == 0]
    assert read(tmp_path / "out") == [measured]


def test_a_shape_that_is_not_known_and_two_bases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There are: stable-diffusion-v1-5"):
        random_base("small", tmp_path, "cpu", torch.float32)
    assert CliRunner().invoke(app, ["bench", "--base", "embedded", "--shape", "x"]).exit_code == 2


def test_tensors_count_while_they_are_alive() -> None:
    given = torch.zeros(1000)
    with LiveTensors([given]) as live:
        assert live.now == 4000
        other = given + 1
        view = other[:10]
        assert live.now == 8000, "a view is no other storage"
        del other
        assert live.now == 8000
        del view
        assert live.now == 4000
        two = [torch.ones(500) for _ in range(2)]
        del two
    assert live.most == 8000


def test_what_autograd_keeps_is_alive() -> None:
    layer = nn.Linear(100, 100, bias=False)
    held = list(tensors_of(layer))
    with LiveTensors(held) as live:
        hidden = layer(torch.ones(10, 100))
        kept = hidden.exp().sum()
        del hidden
        assert live.now >= 40_000 + 3 * 4_000 - 4_000, "the input and what exp gave"
        kept.backward()
        assert live.now >= 80_000, "and the gradient"
