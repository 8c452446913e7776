"""Making pictures: one training for all classes, boxes that are kept, filters that judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from booth.augment import generator as generating
from booth.augment import making
from booth.augment.build import build
from booth.augment.contexts import caption, measured
from booth.augment.crossfit import cross_fit
from booth.augment.fit import Schedule
from booth.augment.generator import Generator
from booth.augment.making import Made, Maker
from booth.augment.readers import read_set
from booth.augment.recipe import Recipe
from booth.cli.app import app
from booth.concept import Concept
from booth.core.errors import UsageError
from labelled import SIDE, picture, write_table
from thumbnails import Thumbnails

ENCODER = "thumbnails:Thumbnails"


def recipe(data: Path, base: Path, **more: Any) -> Recipe:
    values = {
        "data": data, "method": "lora", "base": str(base), "settings": {"steps": 1}, "steps": 2, "per_class": 2,
        "encoder": ENCODER, "filter": "none", "classes": ["bar", "disc"],
    }  # fmt: skip
    return Recipe(**(values | more))


def test_one_training_teaches_a_token_a_class(toy_base: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", {"bar": 3, "disc": 3})
    build(recipe(table, toy_base, together=True), tmp_path / "aug")
    concept = Concept.load(tmp_path / "aug" / "work" / "concepts" / "all")
    assert [s.noun for s in concept.record.subject.all] == ["bar", "disc"]
    assert len({s.token for s in concept.record.subject.all}) == 2
    assert set(concept.record.photos) == read_set(table).hashes
    with pytest.raises(UsageError, match="1000 classes needs as many rare words, and there are 12"):
        recipe(table, toy_base, together=True).require_tokens(tuple(map(str, range(1000))))


def test_the_base_is_read_once_for_all_classes(toy_base: Path, tmp_path: Path) -> None:
    training = read_set(write_table(tmp_path / "set", {"bar": 3, "disc": 3}))
    own, generator = recipe(training.root, toy_base), Generator(str(toy_base))
    maker = Maker(own, training, ("bar", "disc"), tmp_path / "work", generator, Thumbnails())
    for label in ("bar", "disc"):
        assert len(maker.made(label, 2)) == 2
    assert generator.session.loads == 1


def test_boxes_are_kept_and_what_is_in_them_too(toy_base: Path, tmp_path: Path) -> None:
    data = tmp_path / "coco"
    data.mkdir()
    boxes: list[dict[str, Any]] = []
    for i in range(6):
        picture("disc", np.random.default_rng(i)).resize((64, 64)).save(data / f"p{i}.png")
        boxes.append({"id": i, "image_id": i, "category_id": 3 + i % 2, "bbox": [16, 16, 32, 24], "segmentation": []})
    values = {
        "images": [{"id": i, "file_name": f"p{i}.png"} for i in range(6)],
        "annotations": boxes,
        "categories": [{"id": 3, "name": "dent"}, {"id": 4, "name": "rust"}],
    }
    (data / "c.json").write_text(json.dumps(values))
    own = recipe(data, toy_base, classes=["rust"], method="base", settings={}, strength=1.0, inpaint=True)
    own = own.model_copy(update={"strength": 0.9})
    build(own, tmp_path / "aug")
    told = json.loads((tmp_path / "aug" / "synthetic" / "_annotations.coco.json").read_text())
    assert told["categories"] == values["categories"]
    assert {a["category_id"] for a in told["annotations"]} == {4}
    assert len(told["images"]) == 2
    rows = list((tmp_path / "aug" / "synthetic" / "rust").glob("*.png"))
    drawn = np.asarray(Image.open(rows[0]).convert("RGB"), float)
    side = drawn.shape[0]
    scale = side / 64
    box = [round(v * scale) for v in (16, 16, 48, 40)]
    assert told["annotations"][0]["bbox"] == [16 * scale, 16 * scale, 32 * scale, 24 * scale]
    sources = [Image.open(p).convert("RGB").resize((side, side), Image.Resampling.LANCZOS) for p in data.glob("*.png")]
    inside = np.s_[box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1]
    away = [np.abs(drawn - np.asarray(s, float)) for s in sources]
    nearest = min(away, key=lambda a: float(a[inside].mean()))
    assert nearest[inside].max() == 0, "what the box holds is the real picture's own"
    assert nearest[: box[1] - 1].mean() > 1, "what is around it is drawn anew"


def test_pictures_of_one_kind_are_drawn_together_and_come_out_as_alone(
    toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_table(tmp_path / "set", {"bar": 4, "disc": 4})
    for file in sorted(data.parent.rglob("*.png"))[::2]:
        image = Image.open(file)
        image.resize((image.width, 2 * image.height)).save(file)
    own = recipe(data, toy_base, method="base", settings={}, strength=0.9)
    together: list[int] = []
    draw = generating.draw

    def counted(model: Any, prompts: list[str], *rest: Any, **how: Any) -> Any:
        together.append(len(prompts))
        return draw(model, prompts, *rest, **how)

    monkeypatch.setattr(generating, "draw", counted)
    drawn: list[list[bytes]] = []
    for each in (16, 1):
        monkeypatch.setattr(making, "ROUND", each)
        maker = Maker(own, read_set(data), ("bar",), tmp_path / str(each), Generator(str(toy_base)), Thumbnails())
        drawn.append([made.file.read_bytes() for made in maker.made("bar", 6)])
    assert sum(together[:2]) == 6, "two sizes"
    assert together[2:] == [1] * 6
    assert drawn[0] == drawn[1]


def test_a_cross_fitted_classifier_judges_by_groups_that_it_has_not_seen(tmp_path: Path) -> None:
    training = read_set(write_table(tmp_path / "set", {"bar": 12, "disc": 12}, views=2))
    fitted = cross_fit(training, "resnet10", Schedule(12, 8, 32), 0, tmp_path / "fit")
    unseen = frozenset().union(*fitted.held_out)
    assert unseen == training.groups
    assert sum(len(h) for h in fitted.held_out) == len(unseen), "each group is held out once"
    before = (tmp_path / "fit" / "0.safetensors").stat().st_mtime_ns
    again = cross_fit(training, "resnet10", Schedule(12, 8, 32), 0, tmp_path / "fit")
    assert again.recall == fitted.recall
    assert (tmp_path / "fit" / "0.safetensors").stat().st_mtime_ns == before
    files = [p.path for p in training.of("bar")[:3]]
    groups = [p.group for p in training.of("bar")[:3]]
    both = [fitted.agrees(files, label, groups) for label in ("bar", "disc")]
    assert all((one > 0) != (other > 0) for one, other in zip(*both, strict=True)), "one label alone is agreed to"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({}, {"none", "likeness", "classifier"}),
        ({"is_outlier": True}, {"none", "classifier"}),
        ({"agreement": 0.0}, {"none", "likeness"}),
        ({"is_copy": True}, set()),
        ({"is_copy": True, "method": "placebo"}, {"none", "likeness", "classifier"}),
    ],
)
def test_filters(told: dict[str, Any], kept: set[str]) -> None:
    plain = {
        "file": Path(), "label": "a", "seed": 0, "prompt": "", "strength": 1.0, "method": "lora", "source": None,
        "group": "", "nearest": "", "likeness": 0.5, "is_copy": False, "above_floor": False, "is_outlier": False,
        "agreement": 0.7,
    }  # fmt: skip
    made = Made(**(plain | told))
    assert {name for name in ("none", "likeness", "classifier") if made.passes(name)} == kept


def test_captions_name_what_is_not_the_class() -> None:
    dark = Image.new("RGB", (SIDE, SIDE), (60, 130, 60))
    assert measured(dark) == "on a green background"
    assert measured(Image.new("RGB", (SIDE, SIDE), (20, 20, 20))) == "on a black background, in dim light"
    assert caption("sks", "dog", "in the snow") == "a photo of sks dog in the snow"
    assert caption("", "dog", "") == "a photo of dog"


def test_the_command_line_makes_and_proves(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    table, out = write_table(tmp_path / "set", {"bar": 8, "disc": 8}), tmp_path / "aug"
    run = CliRunner()
    made = run.invoke(
        app,
        ["augment", str(table), "--out", str(out), "--classes", "disc", "--method", "placebo", "--per-class", "2",
         "--encoder", ENCODER, "--json"],
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout.splitlines()[-1])["pictures"] == 2
    assert (out / "sheet.png").is_file()
    asked = run.invoke(app, ["augment", "prove", str(out), "--classifier", "resnet10"])
    assert asked.exit_code == 2
    assert "There is nothing to prove" in asked.stderr
    few = ["--method", "lora", "--folds", "2", "--classifier", "resnet10"]
    planned = run.invoke(app, ["augment", "prove", str(out), *few, "--dry-run", "--json"])
    assert planned.exit_code == 0, planned.stderr
    assert json.loads(planned.stdout.splitlines()[-1])["contrasts"] == [["resnet10", "base"], ["resnet10", "lora"]]
    assert not (out / "proof").exists()
    wrong = run.invoke(app, ["augment", str(table), "--filter", "likness"])
    assert wrong.exit_code == 2
    assert "There is no filter 'likness'. There are: none, classifier, likeness" in wrong.stderr
