"""The proof: leaks are caught, noise is no gain, what is useful is found to be."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from booth.augment import classifiers
from booth.augment.classifiers import Classifier
from booth.augment.leaks import LeakError, require_disjoint
from booth.augment.making import Maker
from booth.augment.proof.choices import choose
from booth.augment.proof.plan import CHEAP, ProofPlan
from booth.augment.proof.preparation import prepare
from booth.augment.proof.report import write_report
from booth.augment.proof.run import prove
from booth.augment.provenance import read_rows
from booth.augment.readers import read_set
from booth.augment.recipe import Recipe
from booth.augment.splits import few, inner, outer_folds
from booth.core.errors import BadDataError, UsageError
from labelled import SIDE, picture, write_table

pytest.importorskip("sklearn")
pytest.importorskip("torchmetrics")

CALM = {"bar": 34, "disc": 34, "frame": 34}


def small(classes: int) -> nn.Module:
    """Two convolutions: quick to train, and quick to learn shapes."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.BatchNorm2d(32),
        nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, classes),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(classifiers.CLASSIFIERS, "small", Classifier("small", "small", False, 2e-3, small))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes; pictures come in groups of two."""
    return write_table(tmp_path_factory.mktemp("set"), CALM, views=2)


def plan(**more: Any) -> ProofPlan:
    values = {
        "folds": 2, "seeds": 1, "classifiers": ["small"], "ratios": [5.0], "strengths": [0.7], "filters": ["none"],
        "steps": 60, "batch": 12, "side": 32, "looks": 3, "shots": 4,
    }  # fmt: skip
    return ProofPlan(**(values | more))


def recipe(table: Path) -> Recipe:
    return Recipe(data=table, classes=["frame"], method="placebo", encoder="thumbnails:Thumbnails")


def made(home: Path, table: Path, proof_plan: ProofPlan, draw: Callable[[int], Image.Image]) -> Path:
    """Pictures from elsewhere for each fold, with the hashes that an honest generator saw."""
    found = read_set(table)
    for fold in outer_folds(found, proof_plan.folds, proof_plan.seed, ["frame"], proof_plan.shots):
        folder = home / f"fold-{fold.index}" / "frame"
        folder.mkdir(parents=True)
        for i in range(40):
            draw(1000 * fold.index + i).save(folder / f"{i}.png")
        (folder.parent / "seen.txt").write_text("\n".join(sorted(fold.train.hashes)))
    return home


def new_view(seed: int) -> Image.Image:
    return picture("frame", np.random.default_rng([99, seed]))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng([98, seed]).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))


def wrong(seed: int) -> Image.Image:
    return picture("bar", np.random.default_rng([97, seed]))


def test_wrong_pictures_are_harmful(table: Path, tmp_path: Path) -> None:
    asked = plan(shots=None, ratios=[3.0])
    asked = plan(shots=None, ratios=[3.0], pictures={"wrong": made(tmp_path / "wrong", table, asked, wrong)})
    proof = prove(tmp_path / "out", recipe(table), asked)
    assert [v.word for v in proof.verdicts] == ["harmful"], proof.verdicts[0].sentence


@pytest.mark.essential
def test_useful_pictures_are_and_noise_is_no_gain(table: Path, tmp_path: Path) -> None:
    asked = plan()
    asked = plan(
        pictures={
            "new": made(tmp_path / "new", table, asked, new_view),
            "noise": made(tmp_path / "noise", table, asked, noise),
        }
    )
    proof = prove(tmp_path / "out", recipe(table), asked)
    words = {v.arm: v for v in proof.verdicts}
    assert words["new"].word == "use it", words["new"].sentence
    assert words["noise"].word in ("no measurable gain", "harmful"), words["noise"].sentence
    assert all(v.sentence.count("[") == 1 and "by Holm" in v.sentence for v in proof.verdicts)
    numbers = proof.record["numbers"]["small"]
    assert list(numbers) == [*CHEAP, "placebo", "new", "noise"]
    assert numbers["new"]["recall frame"] > numbers["oversampling"]["recall frame"]
    page = write_report(proof).read_text()
    assert words["noise"].sentence.split(",")[0] in page
    assert page.count("data:image/webp") > 20
    runs = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("runs/*.json")}
    again = prove(tmp_path / "out", recipe(table), asked)
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("runs/*.json")} == runs
    assert [v.sentence for v in again.verdicts] == [v.sentence for v in proof.verdicts]
    with pytest.raises(UsageError, match="wrote down steps = 60 before the run, and this asks for 61"):
        prove(tmp_path / "out", recipe(table), asked.model_copy(update={"steps": 61}))


def test_an_interrupted_fold_goes_on(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plan(steps=3, looks=1, seeds=1)
    whole = prove(tmp_path / "whole", recipe(table), asked)
    from booth.augment.proof import bench

    real, calls = bench.fit, 0

    def dies(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(bench, "fit", dies)
    with pytest.raises(KeyboardInterrupt):
        prove(tmp_path / "killed", recipe(table), asked)
    proof = prove(tmp_path / "killed", recipe(table), asked)
    for arm, said in whole.said["small"].items():
        assert np.array_equal(said.probabilities, proof.said["small"][arm].probabilities), arm
    rows = read_rows(tmp_path / "killed" / "proof" / "fold-1" / "provenance.csv")
    train = {p.name for p in proof.benches[1].fold.train.pictures}
    assert rows
    assert {row["fold"] for row in rows} == {"1"}
    assert {row["source"] for row in rows} <= train
    files = len(list((tmp_path / "whole").rglob("runs/*.json")))
    assert calls == files + 1, "what was done before is not done again"


def test_a_generator_that_saw_the_test_side_is_caught(table: Path, tmp_path: Path) -> None:
    home = made(tmp_path / "leaky", table, plan(), new_view)
    fold = outer_folds(read_set(table), 2, 0, ["frame"], 4)[1]
    with (home / "fold-1" / "seen.txt").open("a") as stream:
        stream.write(f"\n{fold.test.pictures[3].sha256}\n")
    with pytest.raises(LeakError, match=f"saw 1 pictures of the test side, such as {fold.test.pictures[3].name}"):
        prove(tmp_path / "out", recipe(table), plan(pictures={"leaky": home}))
    assert not (tmp_path / "out").exists(), "nothing is written before the leak is told"


def test_a_real_picture_of_the_test_side_among_the_made_ones_is_caught(table: Path, tmp_path: Path) -> None:
    home = made(tmp_path / "leaky", table, plan(), new_view)
    fold = outer_folds(read_set(table), 2, 0, ["frame"], 4)[0]
    stolen = fold.test.of("frame")[0]
    (home / "fold-0" / "frame" / "0.png").write_bytes(stolen.path.read_bytes())
    proof_plan = plan(pictures={"leaky": home})
    with pytest.raises(LeakError, match=f"is {stolen.name}, which is for judging"):
        prepare(tmp_path / "out", recipe(table), proof_plan, lambda _: None)


def test_pictures_that_do_not_say_what_was_seen_are_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign" / "fold-0").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"has no seen\.txt. For each fold, draw from its training side alone"):
        prepare(tmp_path / "out", recipe(table), plan(pictures={"x": tmp_path / "foreign"}), lambda _: None)


def test_a_concept_that_saw_another_fold_is_caught(table: Path, toy_base: Path, tmp_path: Path) -> None:
    """A concept that was taught with a picture of the test side is put where the fold's own is looked for."""
    asked = plan(methods=["lora"], ratios=[0.5], steps=1, looks=1, seeds=1)
    own = recipe(table).model_copy(
        update={"method": "lora", "base": str(toy_base), "settings": {"steps": 1}, "steps": 1}
    )
    proof = prepare(tmp_path / "out", own, asked, lambda _: None)
    first, second = proof.benches
    taught = first.maker("lora", 0.7)
    assert isinstance(taught, Maker)
    assert taught.taught
    attribute = "taught"
    foreign, place = (b.folder / "lora" / "concepts" / "frame" for b in (first, second))
    place.parent.mkdir(parents=True)
    foreign.rename(place)
    with pytest.raises(UsageError, match="taught by another recipe or from other pictures"):
        assert getattr(second.maker("lora", 0.7), attribute)


def test_folds_keep_groups_whole_and_every_class_on_every_side(table: Path) -> None:
    found = read_set(table)
    folds = outer_folds(found, 3, 0)
    tested = [p.name for fold in folds for p in fold.test.pictures]
    assert sorted(tested) == sorted(p.name for p in found.pictures)
    for fold in folds:
        for one, other in ((fold.train, fold.test), (fold.validation, fold.test), (fold.train, fold.validation)):
            assert not one.groups & other.groups
            assert set(one.labels) == set(other.labels) == set(found.labels)


def test_a_planted_leak_is_told(table: Path) -> None:
    found = read_set(table)
    fold = outer_folds(found, 2, 0)[0]
    leaked = found.where(lambda p: p in fold.train.pictures or p == fold.test.pictures[0])
    with pytest.raises(LeakError, match="share 1 groups"):
        require_disjoint(leaked, fold.test, "Both sides")


def test_shots_leave_so_many_of_the_scarce_classes(table: Path) -> None:
    found = read_set(table)
    thin = few(found, ["frame"], 5, seed=3)
    assert thin.counts == {"bar": 34, "disc": 34, "frame": 5}
    train, validation = inner(thin, 0)
    assert train.counts["frame"] + validation.counts["frame"] == 5
    assert min(train.counts["frame"], validation.counts["frame"]) >= 1


def test_a_class_with_too_few_groups_is_told(tmp_path: Path) -> None:
    found = read_set(write_table(tmp_path, {"bar": 6, "disc": 2}, views=2))
    with pytest.raises(BadDataError, match=r"'disc' has 2 pictures of 1 groups, and `folds=2` needs 2 groups"):
        outer_folds(found, 2, 0)


def test_a_given_test_side_that_lacks_a_class_is_told(tmp_path: Path) -> None:
    file = write_table(tmp_path, {"bar": 6, "disc": 6})
    rows = list(csv.reader(file.open()))
    rows = [
        [*rows[0], "split"],
        *([*row, "test" if row[1] == "bar" and row[0][-5] in "45" else "train"] for row in rows[1:]),
    ]
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    with pytest.raises(BadDataError, match="The given test side has 2 pictures and none of disc"):
        outer_folds(read_set(file), 5, 0)


def test_what_is_compared_is_written_down_first(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("booth.augment.proof.bench.fit", dies)
    with pytest.raises(KeyboardInterrupt):
        prove(tmp_path / "out", recipe(table), plan())
    before = json.loads((tmp_path / "out" / "proof" / "plan.json").read_text())
    assert before["arms"][: len(CHEAP)] == list(CHEAP)
    rows = list(csv.DictReader((tmp_path / "out" / "proof" / "folds.csv").open()))
    assert {row["side"] for row in rows} == {"train", "validation", "test"}


def test_classifiers_of_the_libraries_learn(table: Path) -> None:
    net = classifiers.made("resnet10", 3, 0)
    assert torch.equal(net(torch.zeros(2, 3, 32, 32)), classifiers.made("resnet10", 3, 0)(torch.zeros(2, 3, 32, 32)))
    with pytest.raises(UsageError, match="There is no classifier 'resnet11'"):
        classifiers.classifier("resnet11")


class TwoRatios:
    """A fold that is asked for two strengths, and then for two ratios."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.plan = SimpleNamespace(ratios=[1.0, 2.0])

    def strengths(self, arm: str) -> list[float]:
        return [0.5, 0.9]

    def filters(self, arm: str) -> list[str]:
        return ["none"]


def test_what_is_chosen_for_several_folds_is_tried_in_turns() -> None:
    rounds: list[list[tuple[int, float, float]]] = []

    def job(bench: Any, classifier: str, arm: str, choice: dict[str, Any], seed: Any, *, test: bool) -> Any:
        assert not test
        return bench.index, choice["strength"], choice["ratio"]

    def execute(jobs: Sequence[Any]) -> list[dict[str, Any]]:
        rounds.append(list(jobs))
        # The first fold is best at the greater strength and ratio, the second one at the smaller.
        return [{"validation": (s + r) * (1 if fold == 0 else -1), "made": 1} for fold, s, r in jobs]

    places: Any = [(TwoRatios(0), "lora"), (TwoRatios(1), "lora")]
    first, second = choose(places, "resnet10", job, execute)
    assert rounds[0] == [(0, 0.5, 1.0), (1, 0.5, 1.0), (0, 0.9, 1.0), (1, 0.9, 1.0)]
    assert rounds[1] == [(0, 0.9, 2.0), (1, 0.5, 2.0)]
    assert (first.choice.strength, first.choice.ratio) == (0.9, 2.0)
    assert (second.choice.strength, second.choice.ratio) == (0.5, 1.0)
    assert second.curve == {1.0: -1.5, 2.0: -2.5}
