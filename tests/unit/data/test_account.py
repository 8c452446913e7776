"""Everything in a folder is accounted for: used, left out and why, or looks like a caption and is not used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from photo_files import encoded, jpeg, picture
from test_layouts import captions, names, put, refusal

from booth.core.errors import BadDataError
from booth.data.photos import load_photos


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.TXT", "sks dog"),
        ("a.jpg.txt", "sks dog"),
        ("a.jpg.TXT", "sks dog"),
        ("a.tags", "sks\ndog"),
        ("a.captions", "sks dog"),
        ("a.json", '{"caption": "sks dog"}'),
        ("a.json", '{"tags": ["sks", "dog"]}'),
        ("captions/a.txt", "sks dog"),
        ("Captions/a.jpg.txt", "sks dog"),
        ("txt/a.txt", "\ufeffsks dog\r\n"),
    ],
)
def test_captions_are_read_however_they_are_named(name: str, text: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(text.encode())
    found = load_photos([tmp_path])
    assert captions(found)["a.jpg"] in ("sks dog", "sks, dog")
    assert captions(found)["b.jpg"] is None
    assert found.skipped == ()
    assert load_photos(sorted(tmp_path.iterdir())).photos == found.photos


def test_captions_in_a_folder_beside_that_of_the_photos(tmp_path: Path) -> None:
    put(tmp_path / "images", "1.jpg", "2.jpg")
    (tmp_path / "captions").mkdir()
    for name in ("1", "2", "3"):
        (tmp_path / "captions" / f"{name}.txt").write_text(f"number {name}")
    found = load_photos([tmp_path])
    assert captions(found) == {"1.jpg": "number 1", "2.jpg": "number 2"}
    assert "3.txt looks like a caption and is not used" in found.skipped[0]


def test_what_looks_like_captions_and_is_not_used_is_counted(tmp_path: Path) -> None:
    put(tmp_path, *(f"{i}.jpg" for i in range(5)))
    for i in range(5):
        (tmp_path / f"{i}.prompt").write_text("sks dog")
    (tmp_path / "0.xmp").write_text("<x:xmpmeta/>")
    found = load_photos([tmp_path])
    assert any("5 files look like captions and are not used, such as 0.prompt" in note for note in found.skipped)
    assert [left.looks_like_caption for left in found.left_out if left.path.suffix == ".xmp"] == [False]


LISTS = {
    "metadata.csv": 'file_name,text\n{0},"one, two"\n{1},three\n',
    "metadata.CSV": "File_Name;Text\n{0};one, two\n{1};three\n",
    "metadata.tsv": "image\tcaption\n{0}\tone, two\n{1}\tthree\n",
    "metadata.jsonl": '\ufeff{{"file_name": "{0}", "prompt": "one, two"}}\r\n{{"img": "{1}", "caption": "three"}}\n',
    "metadata.json": '[{{"image": "{0}", "prompt": "one, two"}}, {{"image": "{1}", "prompt": "three"}}]',
    "captions.json": '{{"{0}": "one, two", "{1}": "three"}}',
    "meta_cap.json": '{{"C:\\\\photos\\\\{0}": {{"tags": "one, two"}}, "C:\\\\photos\\\\{1}": {{"caption": "three"}}}}',
    "columns.json": '{{"file_name": ["{0}", "{1}"], "text": ["one, two", "three"]}}',
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("below", ["", "train/"])
def test_lists_of_captions_are_read_beside_and_above_the_photos(name: str, below: str, tmp_path: Path) -> None:
    if below and name == "meta_cap.json":
        pytest.skip("a path from another machine tells no folder of this one")
    put(tmp_path / below, "1.jpg", "2.jpg")
    (tmp_path / name).write_bytes(LISTS[name].format(f"{below}1.jpg", f"{below}2.jpg").encode())
    found = load_photos([tmp_path])
    assert captions(found) == {"1.jpg": "one, two", "2.jpg": "three"}
    assert found.skipped == ()
    assert all(p.listed for p in found.photos)
    assert load_photos(sorted(tmp_path.iterdir())).photos == found.photos


@pytest.mark.parametrize("name", ["prompt.json", "metadata.json", "workflow.json", "data.csv"])
def test_a_file_of_another_program_is_one_note_and_the_photos_are_used(name: str, tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    nodes = {str(i): {"class_type": "KSampler", "inputs": {"seed": i}} for i in range(60)}
    (tmp_path / name).write_text(json.dumps(nodes, indent=1))
    found = load_photos([tmp_path])
    assert names(found) == ["1.jpg", "2.jpg"]
    assert len(found.skipped) == 1
    assert name in found.skipped[0]


def test_faults_of_one_kind_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    rows = [{"file_name": "a.jpg", "text": "x"}, *({"file_name": f"{i}.jpg", "text": "x"} for i in range(431))]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = refusal(tmp_path).split("\n")
    assert len(told) == 5
    assert "428 more of the same kind" in told[-1]


HEIC = b"\0\0\0\x1cftypheix" + bytes(20)
RAWS = {"a.NEF": b"MM\0*" + bytes(90), "a.xyz": b"II*\0" + bytes(90), "a.CR3": b"\0\0\0\x18ftypcrx " + bytes(20)}


@pytest.mark.parametrize("name", [*RAWS, "a.HIF", "a.heic"])
def test_a_picture_that_is_not_read_is_passed_over_beside_its_own_jpeg_only(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / name).write_bytes(RAWS.get(name, HEIC))
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg", "b.jpg"]
    assert "a photo of the same name is used in its place" in found.skipped[0]
    (tmp_path / "a.jpg").unlink()
    assert name in refusal(tmp_path)


def test_everything_is_accounted_for(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a-masklabel.png", "gone-masklabel.png", "b.jpg")
    for name in ("a.txt", "a.caption", "stray.txt", "film.mp4", "b.md"):
        (tmp_path / name).write_text("words")
    found = load_photos([tmp_path])
    left = {each.path.name for each in found.left_out}
    assert left == {"gone-masklabel.png", "a.caption", "stray.txt", "film.mp4", "b.md"}
    assert {each.path.name for each in found.left_out if each.looks_like_caption} == {"a.caption", "b.md"}


def mask_file(tmp_path: Path, size: tuple[int, int], exif: int | None) -> None:
    image = picture(1, (48, 32))
    options = {} if exif is None else {"exif": _orientation(exif)}
    (tmp_path / "a.jpg").write_bytes(encoded(image, "JPEG", **options))
    mask = picture(2, size).convert("L").point(lambda v: 255 if v > 90 else 0)
    (tmp_path / "a-masklabel.png").write_bytes(encoded(mask, "PNG"))


def _orientation(value: int) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[274] = value
    return exif.tobytes()


@pytest.mark.parametrize("what", ["masklabel", "condlabel"])
def test_a_twin_of_another_shape_is_refused_and_one_on_the_stored_pixels_is_turned(what: str, tmp_path: Path) -> None:
    mask_file(tmp_path, (96, 32), None)
    (tmp_path / "a-masklabel.png").rename(tmp_path / f"a-{what}.png")
    with pytest.raises(BadDataError, match="have different shapes"):
        load_photos([tmp_path])
    mask_file(tmp_path, (48, 32), 6)
    (tmp_path / "a-masklabel.png").rename(tmp_path / f"a-{what}.png")
    found = load_photos([tmp_path])
    (photo,) = found.photos
    twin = photo.mask if what == "masklabel" else photo.control_image
    assert twin is not None
    assert twin.size == photo.image.size == (32, 48)
    assert any("turned with their pictures" in note for note in found.resized)


def test_the_photos_are_as_many_as_the_jpegs(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    for name in ("masks/a.png", "conditioning/a.png"):
        put(tmp_path, name)
    (photo,) = load_photos([tmp_path]).photos
    assert photo.mask is not None
    assert photo.control_image is not None
