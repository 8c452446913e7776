"""Labelled sets as people have them, and what is wrong with some."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from booth.augment.labelled_set import TEST, TRAIN
from booth.augment.readers import read_set
from booth.core.errors import BadDataError, UsageError
from labelled import picture, write_table


def save(file: Path, seed: int, label: str = "disc") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(label, np.random.default_rng(seed)).save(file)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for i in range(6):
        save(folder / f"p{i}.png", i)
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return folder / "t.csv"


PLAIN = "image,label\n" + "".join(f"p{i}.png,{'ab'[i % 2]}\n" for i in range(6))


def test_image_folder_with_and_without_train(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "flat" / "ab"[i % 2] / f"{i}.png", i)
        save(tmp_path / "split" / ("train", "test")[i // 2] / "ab"[i % 2] / f"{i}.png", i)
    flat, split = read_set(tmp_path / "flat"), read_set(tmp_path / "split")
    assert flat.counts == split.counts == {"a": 2, "b": 2}
    assert {p.split for p in flat.pictures} == {None}
    assert [(p.label, p.split) for p in split.pictures] == [("a", TEST), ("a", TRAIN), ("b", TEST), ("b", TRAIN)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (PLAIN, "utf-8"),
        (PLAIN, "utf-8-sig"),
        (PLAIN.replace(",", ";"), "utf-8-sig"),
        (PLAIN.replace("\n", "\r\n"), "utf-8"),
        (PLAIN.replace("image,label", "isic_id,DX").replace(".png", ""), "utf-8"),
        ("image_id,A,B\n" + "".join(f"p{i},{i % 2}.0,{1 - i % 2}.0\n" for i in range(6)), "utf-8"),
    ],
    ids=["plain", "bom", "semicolons", "windows", "isic", "one-hot"],
)
def test_tables_of_every_make(tmp_path: Path, text: str, encoding: str) -> None:
    found = read_set(table(tmp_path, text, encoding))
    assert sorted(found.counts.values()) == [3, 3]
    assert read_set(tmp_path).pictures == found.pictures  # the folder around it too


def test_columns_are_named_by_options(tmp_path: Path) -> None:
    file = table(tmp_path, PLAIN.replace("image,label", "what,kind"))
    with pytest.raises(UsageError, match=r"no column that is known as the image: it has what, kind.*`image`"):
        read_set(file)
    assert len(read_set(file, {"image": "what", "label": "kind"}).pictures) == 6
    with pytest.raises(UsageError, match=r"no column 'sort'. It has: what, kind"):
        read_set(file, {"image": "what", "label": "sort"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PLAIN.replace("p5.png,b", "p5.png,B"), "'B' .1. and 'b' .2. differ by case or blanks alone"),
        (PLAIN.replace("p5.png,b", "p5.png,"), "1 lines have no label, such as line 7"),
        (PLAIN.replace("p5", "p9"), "line 7 names p9.png, which is not below"),
        (PLAIN.replace("p5", "../p5x"), r"line 7 names \.\./p5x.png"),
        (PLAIN.replace("p5", "p4"), "names p4.png a second time"),
        (PLAIN.replace(",b", ",a"), "All 6 pictures have the label 'a'"),
        ("image,label\n", "has no lines below its header"),
        (
            PLAIN.replace("image,label", "image,label,split").replace("a\n", "a,tset\n").replace("b\n", "b,test\n"),
            "'tset'",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadDataError, match=told):
        read_set(table(tmp_path, text))


def test_blanks_around_labels_do_not_count(tmp_path: Path) -> None:
    found = read_set(table(tmp_path, PLAIN.replace("p5.png,b", "p5.png, b ")))
    assert found.labels == ("a", "b")
    assert any("1 labels had blanks" in note for note in found.notes)


def test_unreadable_pictures_in_the_middle_are_all_named(tmp_path: Path) -> None:
    file = table(tmp_path, PLAIN)
    (tmp_path / "p2.png").write_bytes((tmp_path / "p2.png").read_bytes()[:300])
    (tmp_path / "p4.png").write_bytes(b"")
    with pytest.raises(BadDataError, match=r"p2\.png is a broken(.|\n)*p4\.png is empty"):
        read_set(file)


def test_a_group_on_both_sides_of_a_given_split_is_named(tmp_path: Path) -> None:
    rows = [f"p{i}.png,{'ab'[i % 2]},g{i // 2},{'train' if i < 3 else 'test'}" for i in range(6)]
    file = table(tmp_path, "\n".join(["image,label,lesion_id,split", *rows]))
    with pytest.raises(
        BadDataError, match=r"both sides of the given split: g1\. For example p2.png .train. and p3.png"
    ):
        read_set(file)


def test_a_group_in_two_classes_is_told_and_kept_whole(tmp_path: Path) -> None:
    rows = [f"p{i}.png,{'ab'[i % 2]},g{i // 2}" for i in range(6)]
    found = read_set(table(tmp_path, "\n".join(["image,label,group", *rows])))
    assert any("3 groups hold pictures of several classes, such as g0 (a, b)" in note for note in found.notes)


def test_near_duplicates_are_one_group_where_no_column_says(tmp_path: Path) -> None:
    file = table(tmp_path, PLAIN)
    again = Image.open(tmp_path / "p0.png").resize((96, 96))
    again.save(tmp_path / "p2.png")
    found = read_set(file)
    assert any("2 pictures are near duplicates and were merged into 1 groups" in note for note in found.notes)
    groups = {p.name: p.group for p in found.pictures}
    assert groups["p0.png"] == groups["p2.png"] != groups["p4.png"]


def test_the_same_file_is_one_group_whatever_the_column_says(tmp_path: Path) -> None:
    rows = [f"p{i}.png,{'ab'[i % 2]},g{i}" for i in range(6)]
    file = table(tmp_path, "\n".join(["image,label,group", *rows]))
    (tmp_path / "p2.png").write_bytes((tmp_path / "p0.png").read_bytes())
    groups = {p.name: p.group for p in read_set(file).pictures}
    assert groups["p0.png"] == groups["p2.png"] == "g0+g2"


def test_nothing_is_written_into_the_source(tmp_path: Path) -> None:
    file = write_table(tmp_path, {"bar": 3, "disc": 3})
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    read_set(file)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def coco(folder: Path) -> Path:
    images = [{"id": i, "file_name": f"p{i}.png", "width": 48, "height": 48} for i in range(4)]
    for i in range(4):
        save(folder / f"p{i}.png", i)
    boxes = [
        {"id": i, "image_id": i, "category_id": 5 + i % 2, "bbox": [4, 8, 20, 10], "segmentation": []} for i in range(3)
    ]
    boxes.append({"id": 9, "image_id": 2, "category_id": 6, "bbox": [0, 0, 5, 5], "segmentation": []})
    values = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 5, "name": "scratch"}, {"id": 6, "name": "dent"}],
    }
    (folder / "_annotations.coco.json").write_text(json.dumps(values))
    return folder


def test_coco_labels_a_picture_by_its_things(tmp_path: Path) -> None:
    found = read_set(coco(tmp_path))
    assert {p.name: p.label for p in found.pictures} == {"p0.png": "scratch", "p1.png": "dent"}
    assert any("1 pictures show things of several categories" in note for note in found.notes)
    assert any("1 pictures have no annotation" in note for note in found.notes)
    mask = found.pictures[0].mask()
    assert mask is not None
    assert mask.getbbox() == (4, 8, 25, 19)  # a rectangle's right and lower edge are part of it
    assert found.categories == {"scratch": 5, "dent": 6}


def test_a_thousand_classes_are_read(tmp_path: Path) -> None:
    small = Image.new("RGB", (32, 32))
    rows = ["image,label,group"]
    for i in range(1000):
        small.putpixel((i % 32, i // 32), (255, 255, 255))
        small.save(tmp_path / f"{i}.png", compress_level=0)
        rows.append(f"{i}.png,c{i},g{i}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert len(read_set(tmp_path / "t.csv").labels) == 1000
