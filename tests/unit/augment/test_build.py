"""The derived set: what is in it, where it comes from, and that a killed run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from booth.augment import generator
from booth.augment.build import build
from booth.augment.candidates import candidate
from booth.augment.copies import Originals
from booth.augment.dry_run import describe
from booth.augment.fit import Schedule
from booth.augment.generator import distorted
from booth.augment.leaks import LeakError, require_seen_only
from booth.augment.provenance import read_rows
from booth.augment.readers import read_set
from booth.augment.recipe import Recipe, folder_name
from booth.augment.torch_dataset import AugmentedDataset
from booth.concept import Concept
from booth.core.errors import UsageError
from booth.families.loading import base_hash
from labelled import SIDE, picture, write_table
from thumbnails import Thumbnails

ENCODER = "thumbnails:Thumbnails"


def recipe(data: Path, **more: Any) -> Recipe:
    return Recipe(data=data, **({"classes": ["disc"], "per_class": 5, "method": "placebo", "encoder": ENCODER} | more))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("set"), {"bar": 5, "disc": 4}, views=2)


def test_every_drawn_picture_has_a_provenance(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "aug"
    build(recipe(table, licence="CC BY-NC 4.0"), out, command="booth augment x")
    rows = read_rows(out / "provenance.csv")
    assert len(rows) == 5
    groups = {p.name: p.group for p in read_set(table).pictures}
    for row in rows:
        assert (out / row["file"]).is_file()
        assert groups[row["source"]] == row["group"]
        assert (row["label"], row["method"], row["licence"]) == ("disc", "placebo", "CC BY-NC 4.0")
    assert len(list((out / "combined" / "disc").iterdir())) == 4 + 5
    assert all(p.is_symlink() and p.resolve().is_file() for p in (out / "combined").glob("*/*"))
    assert json.loads((out / "augment.json").read_text())["command"] == "booth augment x"


def test_a_killed_run_goes_on_and_is_the_same(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    build(recipe(table), whole)
    calls = 0

    def dies(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        save(*args)

    save = generator._save
    monkeypatch.setattr(generator, "_save", dies)
    with pytest.raises(KeyboardInterrupt):
        build(recipe(table), killed)
    assert not (killed / "synthetic").exists()
    build(recipe(table), killed)
    assert files(killed / "synthetic") == files(whole / "synthetic")
    assert calls == 3 + 3  # two of the five were there
    build(recipe(table), killed)
    assert calls == 6, "what is there is not drawn again"


def test_another_recipe_does_not_mix_with_what_is_there(table: Path, tmp_path: Path) -> None:
    build(recipe(table), tmp_path / "aug")
    with pytest.raises(UsageError, match="was made with seed = 0, and this asks for 1"):
        build(recipe(table, seed=1), tmp_path / "aug")
    assert len(build(recipe(table, per_class=7), tmp_path / "aug").kept["disc"]) == 7
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="holds other files"):
        build(recipe(table), tmp_path / "mine")


@pytest.mark.parametrize("changed", ["base", "sampler", "guidance of its own", "real pictures", "nothing known"])
def test_what_is_drawn_otherwise_does_not_mix_with_what_is_there(
    changed: str, toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = write_table(tmp_path / "set", {"bar": 5, "disc": 4}), tmp_path / "aug"
    base = Path(shutil.copytree(toy_base, tmp_path / "base"))
    how = {"method": "base", "base": str(base), "steps": 1, "filter": "none", "strength": 1.0}
    build(recipe(table, per_class=2, **how), out)
    drawings = out / "work" / "drawn-1" / "disc"
    seen, record = files(drawings), (out / "augment.json").read_bytes()
    if changed == "base":
        weights = base / "unet" / "diffusion_pytorch_model.safetensors"
        save_file({name: 1.01 * value for name, value in load_file(weights).items()}, weights)
        base_hash.cache_clear()  # as another process
    elif changed in ("sampler", "guidance of its own"):
        attribute, value = ("sampler", "euler") if changed == "sampler" else ("guidance", 2.0)
        own = generator.Session.model

        @contextmanager
        def otherwise(session: Any) -> Iterator[Any]:
            with own(session) as model:
                monkeypatch.setattr(model, attribute, value)
                yield model

        monkeypatch.setattr(generator.Session, "model", otherwise)
    elif changed == "real pictures":
        shutil.rmtree(table.parent)
        write_table(table.parent, {"bar": 6, "disc": 4})
    else:
        (drawings / "drawn_by.json").unlink()
    told = "did not note how" if changed == "nothing known" else f"with another {changed}"
    with pytest.raises(UsageError, match=told):
        build(recipe(table, per_class=3, **how), out)
    assert files(drawings) == seen, "what lies there is neither overwritten nor added to"
    assert (out / "augment.json").read_bytes() == record, "and what is told of the finished set stays"


def test_nothing_goes_into_the_source_folder(table: Path) -> None:
    with pytest.raises(UsageError, match="lies in the folder of the pictures"):
        build(recipe(table), table.parent / "pictures" / "aug")
    with pytest.raises(UsageError, match="lies in the folder of the pictures"):
        build(recipe(table.parent), table.parent / "aug")


def test_a_class_that_is_not_there_is_told(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No picture has the label 'dsic'. There are: bar, disc\."):
        build(recipe(table, classes=["dsic"]), tmp_path / "aug")


def test_the_weakest_classes_are_measured_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("booth.augment.build.JUDGING", Schedule(steps=8, batch=8, side=32))
    table = write_table(tmp_path, {"bar": 12, "disc": 12, "frame": 4})
    told: list[str] = []
    built = build(recipe(table, classes=[], per_class=2), tmp_path.with_name(tmp_path.name + "-aug"), tell=told.append)
    recall = built.record["recall"]
    assert set(recall) == {"bar", "disc", "frame"}
    mean = sum(recall.values()) / 3
    weak = {label for label in recall if recall[label] < mean} or {min(recall, key=lambda x: recall[x])}
    assert set(built.kept) == weak
    assert any("weakest classes by an inner validation" in t for t in told)


def test_a_concept_is_taught_and_drawn_and_its_hash_is_told(table: Path, toy_base: Path, tmp_path: Path) -> None:
    how = {
        "method": "lora",
        "base": str(toy_base),
        "settings": {"steps": 1},
        "steps": 2,
        "per_class": 2,
        "filter": "none",
    }
    built = build(recipe(table, **how), tmp_path / "aug")
    rows = read_rows(tmp_path / "aug" / "provenance.csv")
    assert {row["method"] for row in rows} <= {"lora"}
    assert all(row["concept"].startswith("sha256:") and row["base"] == built.record["base"] for row in rows)
    concept = Concept.load(tmp_path / "aug" / "work" / "concepts" / "disc")
    training = read_set(table)
    assert set(concept.record.photos) == {p.sha256 for p in training.of("disc")}
    with pytest.raises(LeakError, match="saw 4 pictures that are not of the training side"):
        require_seen_only(concept.record.photos, training.where(lambda p: p.label == "bar"), "The concept")


def test_a_dry_run_writes_nothing(table: Path, toy_base: Path, tmp_path: Path) -> None:
    plan = describe(recipe(table, method="lora", base=str(toy_base)), tmp_path / "aug", lambda _: None)
    assert plan["pictures"] == 5
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0
    assert not (tmp_path / "aug").exists()


def test_copies_are_found_and_new_views_are_not(table: Path, tmp_path: Path) -> None:
    training = read_set(table)
    originals = Originals(training.of("disc"), Thumbnails())
    own = training.of("disc")[0]
    own.image().resize((SIDE * 2, SIDE * 2)).save(tmp_path / "copy.png")
    own.image().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    copy, mirrored = originals.nearest([tmp_path / f"{n}.png" for n in ("copy", "mirrored")])
    assert copy.is_copy
    assert mirrored.is_copy
    assert copy.picture.name == mirrored.picture.name == own.name
    others = [tmp_path / f"{i}.png" for i in range(2)]
    picture("disc", np.random.default_rng(77)).save(others[0])
    picture("frame", np.random.default_rng(78)).save(others[1])
    assert [n.is_copy for n in originals.nearest(others)] == [False, False]


class Angles(Thumbnails):
    """A direction in the plane, by how bright a picture is."""

    def embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        angles = torch.tensor([float(np.asarray(i).mean()) / 255 * np.pi for i in images])
        return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_the_floor_is_real_to_real_across_groups(tmp_path: Path) -> None:
    rows = ["image,label,group"]
    for i, grey in enumerate((0, 1, 60, 120, 255)):
        Image.new("RGB", (32, 32), (grey, grey, grey)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'b' if grey == 255 else 'a'},g{max(0, i - 1)}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    originals = Originals(read_set(tmp_path / "t.csv").of("a"), Angles())
    assert originals.highest == pytest.approx(np.cos(59 / 255 * np.pi), abs=1e-5), "0 and 1 are one group"
    for grey in (59, 200):
        Image.new("RGB", (32, 32), (grey, grey, grey)).save(tmp_path / f"drawn{grey}.png")
    near, far = originals.nearest([tmp_path / "drawn59.png", tmp_path / "drawn200.png"])
    assert (near.above_floor, near.is_outlier) == (True, False)
    assert (far.above_floor, far.is_outlier) == (False, True)


def test_a_placebo_looks_like_its_source(table: Path) -> None:
    training = read_set(table)
    each = candidate(recipe(table), training, ("disc",), [""], "disc", 0)
    assert each.source is not None
    changed = np.abs(np.asarray(distorted(each), float) - np.asarray(each.source.image(), float)).mean()
    assert 1 < changed < 60


def test_the_dataset_is_decided_by_the_index_alone(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "aug"
    build(recipe(table), out)
    data = AugmentedDataset(out, 0.5, transform=lambda image: image.size)
    assert (len(data), data.classes) == (9, ["bar", "disc"])
    assert data[0] == ((SIDE, SIDE), 0)
    first = [data.path(i) for i in range(len(data))]
    assert [data.path(i) for i in reversed(range(len(data)))] == first[::-1]
    drawn = [i for i, (file, _) in enumerate(first) if "synthetic" in file.parts]
    assert all(first[i][1] == 1 for i in drawn)
    assert not [1 for i in range(9) if "synthetic" in AugmentedDataset(out, 0.0).path(i)[0].parts]
    assert all("synthetic" in AugmentedDataset(out, 1.0).path(i)[0].parts for i in range(9) if data.real[i][1] == 1)
    data.set_epoch(1)
    assert [data.path(i) for i in range(len(data))] != first


def test_labels_become_folders_that_exist_everywhere() -> None:
    labels = ("a/b", "a:b", "plain", "ü ö")
    names = [folder_name(label, labels) for label in labels]
    assert names == ["a-b-0", "a-b-1", "plain", "ü ö"]
