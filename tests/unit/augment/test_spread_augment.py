"""An augmentation and its proof by two worker processes come to the same as in this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from booth.augment.build import build
from booth.augment.proof.plan import ProofPlan
from booth.augment.proof.run import prove
from booth.augment.recipe import Recipe
from booth.executor.job import Executor
from labelled import write_table

pytest.importorskip("sklearn")
pytest.importorskip("torchmetrics")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "set", {"bar": 8, "disc": 8}, views=2)


def recipe(table: Path, toy_base: Path, **more: Any) -> Recipe:
    known: dict[str, Any] = {"classes": ["bar", "disc"], "per_class": 3, "encoder": "thumbnails:Thumbnails"}
    return Recipe(data=table, base=str(toy_base), **(known | more))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


@pytest.mark.slow
def test_classes_are_taught_and_drawn(workers: Executor, table: Path, toy_base: Path, tmp_path: Path) -> None:
    settings = {"steps": 2, "rank": 2, "batch_size": 1}
    asked = recipe(table, toy_base, method="lora", settings=settings, steps=2, filter="none")
    alone, spread, told = tmp_path / "alone", tmp_path / "spread", list[str]()
    build(asked, alone)
    build(asked, spread, executor=workers, tell=told.append)
    assert {"bar: 3 pictures.", "disc: 3 pictures."} <= set(told)
    assert files(spread / "synthetic") == files(alone / "synthetic") != {}


def test_a_proof(workers: Executor, table: Path, toy_base: Path, tmp_path: Path) -> None:
    plan = ProofPlan(
        methods=["placebo"], folds=2, seeds=1, classifiers=["resnet10"], ratios=[0.5, 1.0], strengths=[0.7],
        filters=["none"], steps=2, batch=4, side=32, looks=1,
    )  # fmt: skip
    asked = recipe(table, toy_base, method="placebo")
    alone = prove(tmp_path / "alone", asked, plan)
    spread = prove(tmp_path / "spread", asked, plan, executor=workers)
    for key in ("numbers", "choices", "curves", "contrasts"):
        assert spread.record[key] == alone.record[key], key
