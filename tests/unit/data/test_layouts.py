"""Every layout that people have their photos in is recognised, and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from photo_files import jpeg, png

from booth.core.errors import BadDataError
from booth.data.photos import PhotoSet, load_photos


def put(folder: Path, *names: str) -> Path:
    """A folder with a photo, each another, under every name."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(sum(map(ord, folder.name)) + i))
    return folder


def names(found: PhotoSet) -> list[str]:
    return [p.path.name for p in found.photos]


def captions(found: PhotoSet) -> dict[str, str | None]:
    return {p.path.name: p.caption for p in found.photos}


def metadata(folder: Path, *rows: object) -> None:
    (folder / "metadata.jsonl").write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))


def refusal(*sources: Path) -> str:
    with pytest.raises(BadDataError) as caught:
        load_photos(list(sources))
    return str(caught.value)


def test_a_flat_folder(tmp_path: Path) -> None:
    found = load_photos([put(tmp_path, "b.JPG", "a.jpeg", "c.jfif")])
    assert names(found) == ["a.jpeg", "b.JPG", "c.jfif"]
    assert found.layout == f"{tmp_path} is a flat folder of 3 photos."
    assert (found.noun, found.token, found.skipped, found.duplicates) == (None, None, (), ())


def test_content_decides_whatever_the_name_says(tmp_path: Path) -> None:
    put(tmp_path, "no-extension", "photo.PNG", "photo.data")
    assert len(load_photos([tmp_path]).photos) == 3


def test_hidden_and_junk_files_are_passed_over_in_silence(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", "__MACOSX/a.jpg", ".git/b.jpg")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r"):
        (tmp_path / name).write_bytes(b"junk")
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg"]
    assert found.skipped == ()


def test_other_files_are_passed_over_with_a_note(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a-masklabel.png", "old/b.jpg", "old/c.jpg", "empty/none/d.jpg")
    (tmp_path / "README.txt").write_text("not a caption")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg"]
    notes = "\n".join(found.skipped)
    assert len(found.skipped) == 4
    for name in (
        "README.txt",
        "film.mp4",
        "old/ skipped with 2 photos",
        "none/ skipped with 1 photo:",
    ):
        assert name in notes


def test_a_list_of_files_with_captions_as_a_shell_expands_it(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "Thumbs.db").write_bytes(b"junk")
    found = load_photos([tmp_path / n for n in ("b.jpg", "a.jpg", "a.txt", "Thumbs.db")])
    assert captions(found) == {"b.jpg": None, "a.jpg": "one"}
    assert found.layout == "a list of 2 photos, 1 with a caption."


@pytest.mark.parametrize("name", ["metadata.jsonl", "stray.md", "captions.txt", "prompt.json"])
def test_all_that_lies_in_a_folder_named_one_by_one_is_that_folder(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    rows = ["a.jpg, one", "b.jpg, two"] if name == "captions.txt" else [
        json.dumps({"file_name": f"{photo}.jpg", "text": text}) for photo, text in (("a", "one"), ("b", "two"))
    ]  # fmt: skip
    (tmp_path / name).write_text("\n".join(rows))
    found, expanded = load_photos([tmp_path]), load_photos(sorted(tmp_path.iterdir()))
    assert (expanded.photos, expanded.skipped, expanded.layout) == (found.photos, found.skipped, found.layout)
    assert captions(found) == ({"a.jpg": "one", "b.jpg": "two"} if name in ("metadata.jsonl", "captions.txt") else
                               {"a.jpg": None, "b.jpg": None})  # fmt: skip


def test_a_photo_named_twice_is_used_once(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    found = load_photos([tmp_path, tmp_path / "a.jpg", tmp_path / "." / "b.jpg"])
    assert names(found) == ["a.jpg", "b.jpg"]
    assert len(found.skipped) == 2
    assert found.duplicates == ()


def test_text_files_beside_the_photos_are_captions(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "a.txt").write_text("  a dog,\n on a sofa \n")
    (tmp_path / "b.caption").write_bytes(b"\xef\xbb\xbfein H\xc3\xbcndchen")
    (tmp_path / "c.txt").write_text(" \n")
    found = load_photos([tmp_path])
    assert captions(found) == {"a.jpg": "a dog, on a sofa", "b.jpg": "ein Hündchen", "c.jpg": None, "d.jpg": None}
    assert found.layout.endswith("is a flat folder of 4 photos, 2 with a caption.")
    assert found.skipped == (f"{tmp_path / 'c.txt'} skipped: it is blank, so c.jpg has no caption.",)


def test_captions_that_are_no_text_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "a.txt").write_bytes("Hündchen".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("Hündchen".encode("utf-16"))
    (tmp_path / "c.txt").write_bytes(b"a\0b")
    (tmp_path / "d.txt").write_bytes(b"x" * 70_000)
    lines = refusal(tmp_path).split("\n")[1:]
    assert len(lines) == 4
    assert [n in line for n, line in zip(("a.txt", "b.txt", "c.txt", "d.txt"), lines)] == [True] * 4
    assert "not UTF-8" in lines[0]
    assert "control characters" in lines[2]


def test_a_caption_may_not_be_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = put(tmp_path / "photos", "a.jpg")
    (tmp_path / "secret").write_text("secret")
    (folder / "a.txt").symlink_to(tmp_path / "secret")
    assert "a.txt is a link to a place outside the folder" in refusal(folder)


def test_a_hub_imagefolder(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "train/c.jpg", "d.jpg")
    (tmp_path / "d.txt").write_text("beside")
    metadata(
        tmp_path,
        {"file_name": "a.jpg", "text": "one", "width": 48},
        "",
        {"file_name": "train/../b.jpg", "caption": "two"},
        {"file_name": "train/c.jpg", "text": ""},
    )
    found = load_photos([tmp_path])
    assert captions(found) == {"a.jpg": "one", "b.jpg": "two", "c.jpg": None, "d.jpg": "beside"}
    assert found.layout == f"{tmp_path} is a Hub imagefolder of 4 photos, 3 with a caption."
    assert found.skipped == ()


def test_each_bad_line_of_the_metadata_is_named_by_its_number(tmp_path: Path) -> None:
    folder = put(tmp_path / "photos", "a.jpg", "b.jpg")
    put(tmp_path, "outside.jpg")
    metadata(
        folder,
        {"file_name": "a.jpg", "text": "one"},
        "not json",
        {"text": "no name"},
        {"file_name": "../outside.jpg", "text": "x"},
        {"file_name": str(tmp_path / "outside.jpg"), "text": "x"},
        {"file_name": "gone.jpg", "text": "x"},
        {"file_name": "b.jpg"},
        {"file_name": "a.jpg", "text": "again"},
        "[" * 100_000,
        {"file_name": "a\0.jpg", "text": "x"},
        "[1]",
        {"file_name": "b.jpg", "text": "\x00"},
    )
    lines = refusal(folder).split("\n")[1:]
    assert [line.split("metadata.jsonl line ")[1].split(" ")[0] for line in lines] == [str(n) for n in range(2, 13)]
    for line, reason in zip(
        lines,
        (
            "not JSON",
            'no "file_name"',
            "outside",
            "outside",
            "does not exist",
            "no caption",
            "second time",
            "not JSON",
            'no "file_name"',
            'no "file_name"',
            "control",
        ),
    ):
        assert reason in line


def test_metadata_that_is_not_text_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe{\0")
    assert "metadata.jsonl is not UTF-8 text" in refusal(tmp_path)


@pytest.mark.parametrize("given", [".", "10_sks dog", "img"])
def test_kohya_folders_are_recognised_from_the_parent_and_the_leaf(given: str, tmp_path: Path) -> None:
    leaf = put(tmp_path / "project" / "img" / "10_sks dog", "a.jpg", "b.jpg")
    source = {".": tmp_path / "project", "img": leaf.parent, "10_sks dog": leaf}[given]
    found = load_photos([source])
    assert names(found) == ["a.jpg", "b.jpg"]
    assert (found.token, found.noun) == ("sks", "dog")
    assert "a kohya folder of 2 photos, token 'sks', class 'dog'" in found.layout


def test_kohya_repeats_keep_their_proportions_and_regularisation_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "img" / "20_sks stuffed animal", "a.jpg")
    put(tmp_path / "img" / "30_sks stuffed animal", "b.jpg")
    put(tmp_path / "reg" / "1_dog", "c.jpg", "d.jpg")
    found = load_photos([tmp_path])
    assert [(p.path.name, p.repeats) for p in found.photos] == [("a.jpg", 2), ("b.jpg", 3)]
    assert (found.token, found.noun) == ("sks", "stuffed animal")
    assert len(found.skipped) == 1
    assert "1_dog/ skipped with 2 photos: regularisation pictures" in found.skipped[0]


def test_a_kohya_folder_without_a_class_word_names_no_subject(tmp_path: Path) -> None:
    found = load_photos([put(tmp_path / "5_dog", "a.jpg")])
    assert (found.token, found.noun) == (None, None)
    assert "kohya" in found.layout


def test_a_year_is_not_a_number_of_repeats(tmp_path: Path) -> None:
    found = load_photos([put(tmp_path / "2024_summer dog", "a.jpg")])
    assert (found.token, found.noun) == (None, None)
    assert "flat folder" in found.layout


def test_two_subjects_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "10_sks dog", "a.jpg")
    put(tmp_path / "10_zwx cat", "b.jpg")
    assert "several subjects (sks dog, zwx cat)" in refusal(tmp_path)


def test_photos_beside_kohya_folders_are_ambiguous(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "10_sks dog/b.jpg")
    assert "holds photos itself and in kohya folders (10_sks dog)" in refusal(tmp_path)


def test_the_wrong_folder_level_is_recognised(tmp_path: Path) -> None:
    put(tmp_path, "inner/deeper/a.jpg", "__MACOSX/b.jpg")
    (tmp_path / "other").mkdir()
    found = load_photos([tmp_path])
    assert names(found) == ["a.jpg"]
    assert (
        found.layout == f"{tmp_path / 'inner' / 'deeper'} is a flat folder of 1 photo, below the folder that was given."
    )


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    assert "holds no photos" in refusal(tmp_path / "photos")


def test_an_imagefolder_one_level_down_is_taken_whole(tmp_path: Path) -> None:
    put(tmp_path, "data/images/a.jpg")
    metadata(tmp_path / "data", {"file_name": "images/a.jpg", "text": "one"})
    found = load_photos([tmp_path])
    assert captions(found) == {"a.jpg": "one"}
    assert "Hub imagefolder of 1 photo, 1 with a caption, below" in found.layout


def test_several_folders_of_photos_are_not_guessed_between(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}/a.jpg" for n in "abcdefg"))
    assert "several of its folders do (a, b, c, d, e and 2 more)" in refusal(tmp_path)


def test_several_sources_are_joined(tmp_path: Path) -> None:
    put(tmp_path / "a", "1.jpg")
    put(tmp_path / "b", "2.jpg")
    (tmp_path / "3.png").write_bytes(png(3))
    (tmp_path / "4.png").write_bytes(png(4))
    found = load_photos([tmp_path / "a", tmp_path / "3.png", tmp_path / "b"])
    assert names(found) == ["1.jpg", "2.jpg", "3.png"]
    assert found.layout.count(";") == 2
