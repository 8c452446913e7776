"""Forms of photos' company that nobody has listed: neighbours of those that people brought."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from photo_files import encoded, picture
from PIL import Image
from test_layouts import captions, names, put, refusal

from booth.core.errors import BadDataError
from booth.core.reading import decode_text
from booth.data.photos import load_photos
from booth.data.roles import kohya


def _mask() -> bytes:
    pixels = np.zeros((40, 48), dtype=np.uint8)
    pixels[10:30, 12:36] = 255
    return encoded(Image.fromarray(pixels), "PNG")


def write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


MASKS = [
    "a-MaskLabel.PNG",
    "a mask.png",
    "mask_a.png",
    "Mask-a.png",
    "a_masks.png",
    "a_alpha.png",
    "a_matte.png",
    "a-seg.png",
    "a_segmentation.png",
    "a.png.mask.png",
    "alpha/a.png",
    "mattes/A.png",
    "SegmentationClass/a.png",
    "masks/mask_a.png",
]


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_found_by_any_common_name(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    write(tmp_path / name, _mask())
    found = load_photos([tmp_path])
    assert names(found) == ["a.png", "b.png"]
    assert [p.mask is not None for p in found.photos] == [True, False]
    assert found.skipped == ()


def test_a_name_like_a_masks_is_a_photos_without_another_photo(tmp_path: Path) -> None:
    put(tmp_path, "carnival_mask.png", "mask_of_jade.png", "dog depth.png", "alpha/1.png")
    assert names(load_photos([tmp_path])) == ["carnival_mask.png", "dog depth.png", "mask_of_jade.png"]


@pytest.mark.parametrize("name", ["a_canny.png", "a.depth.png", "a-hint.png", "depth/a.png", "canny_maps/a.png"])
def test_a_hint_is_found_by_any_common_name(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.png", name)
    (photo,) = load_photos([tmp_path]).photos
    assert photo.control_image is not None


def test_a_mask_of_a_kind_that_is_not_read_is_no_leftover(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    write(tmp_path / "a-masklabel.tiff", encoded(picture(1), "TIFF"))
    assert "has a mask, a-masklabel.tiff, that is a TIFF" in refusal(tmp_path)


def test_a_mask_of_half_the_size_is_of_the_same_shape_but_for_rounding(tmp_path: Path) -> None:
    write(tmp_path / "a.png", encoded(picture(1, (99, 65)), "PNG"))
    for size, fits in (((50, 33), True), ((49, 32), True), ((198, 130), True), ((48, 36), False)):
        write(tmp_path / "a-masklabel.png", encoded(Image.open(_file(tmp_path, _mask())).resize(size), "PNG"))
        if fits:
            assert load_photos([tmp_path]).photos[0].mask is not None
        else:
            assert "have different shapes" in refusal(tmp_path)


def _file(folder: Path, content: bytes) -> Path:
    write(folder / ".hidden.png", content)
    return folder / ".hidden.png"


def test_a_mask_of_one_grey_tells_nothing_and_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    write(tmp_path / "a_mask.png", encoded(Image.new("L", (48, 40), 128), "PNG"))
    found = load_photos([tmp_path])
    assert found.photos[0].mask is None
    assert "of one grey all over and change nothing" in found.resized[0]


BESIDE = ["prompts/a.txt", "annotations/a.jpg.txt", "descriptions/A.caption", "IMG/../A.txt"]


@pytest.mark.parametrize("name", BESIDE)
def test_texts_of_the_photos_names_are_captions_wherever_they_lie(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    write((tmp_path / name).resolve(), "sks dog")
    found = load_photos([tmp_path])
    assert captions(found) == {"a.jpg": "sks dog", "b.jpg": None}
    assert found.skipped == ()


def test_of_two_photos_that_differ_in_case_each_keeps_its_caption(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "A.png")
    write(tmp_path / "a.txt", "small")
    assert captions(load_photos([tmp_path])) == {"a.jpg": "small", "A.png": None}


LISTS = {
    "captions.txt": "1.jpg, one, two\n2.jpg, three\n",
    "list.txt": '"1.jpg": one, two\n\n2.JPG\tthree\n',
    "labels.csv": '1.jpg,"one, two"\n2.jpg,three\n',
    "metadata.csv": "file_name,text\n1.jpg,one, two\n2.jpg,three\n",
    "captions.csv": "Image Name,Caption Text\n1.jpg,one, two\n2.jpg,three\n",
    "meta_cap.json": json.dumps({"1": {"caption": "one, two"}, "/photos/2": {"tags": "three"}}),
    "several.json": json.dumps({"1.jpg": ["one, two", "another"], "2.jpg": ["three"]}),
    "coco.json": json.dumps({
        "images": [{"id": 7, "file_name": "1.jpg"}, {"id": 8, "file_name": "2.jpg"}, {"id": 9, "file_name": "3.jpg"}],
        "annotations": [{"image_id": 7, "caption": "one, two"}, {"image_id": 8, "caption": "three"}, {"image_id": 7}],
    }),
    "metadata.jsonl": '{"file_name": "1.jpg", "tags": ["one", "two"]}\n{"image": "2", "captions": ["three", "four"]}',
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_read_in_more_forms(name: str, tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.JPG" if name == "list.txt" else "2.jpg")
    write(tmp_path / name, LISTS[name])
    found = load_photos([tmp_path])
    assert list(captions(found).values()) == ["one, two", "three"]
    several = "another" in LISTS[name] or "four" in LISTS[name]
    assert [("only the first is used" in note) for note in found.skipped] == [True] * several


def test_a_table_without_captions_is_told_once_and_an_empty_one_is_no_fault(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    write(tmp_path / "metadata.csv", "file_name,label\n1.jpg,3\n2.jpg,4\n")
    (note,) = load_photos([tmp_path]).skipped
    assert "metadata.csv looks like a caption and is not used" in note
    write(tmp_path / "metadata.jsonl", '{"file_name": "1.jpg", "text": null}\n{"file_name": "2.jpg", "text": "x"}')
    assert captions(load_photos([tmp_path])) == {"1.jpg": None, "2.jpg": "x"}


@pytest.mark.parametrize("name", ["a.cap", "a.caption.txt", "a.jpg.supplemental.json", "a.txt.bak", "captions.yaml"])
def test_what_names_a_photo_looks_like_a_caption(name: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path / name, "a.jpg: sks dog" if name == "captions.yaml" else "sks dog")
    (note,) = load_photos([tmp_path]).skipped
    assert f"{name} looks like a caption and is not used" in note


def test_what_lies_outside_of_the_folder_is_told_and_used_where_it_is_named(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.jpg")
    write(tmp_path / "captions" / "a.txt", "sks dog")
    write(tmp_path / "masks" / "b.png", _mask())
    found = load_photos([tmp_path / "images"])
    assert captions(found) == {"a.jpg": None}
    (note,) = found.skipped
    assert "its captions are called as these photos" in note
    both = load_photos([tmp_path / "images", tmp_path / "captions"])
    assert captions(both) == {"a.jpg": "sks dog"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text\ntrain/a.jpg,sks dog\n"),
        ("metadata.jsonl", '{"file_name": "train/a.jpg", "text": "sks dog"}\n'),
        ("captions.json", '{"train/a.jpg": "sks dog"}'),
        ("meta_cap.json", '{"train/a": {"caption": "sks dog"}}'),
    ],
)
def test_a_list_above_the_folder_is_told_and_used_where_its_own_folder_is_named(
    name: str, text: str, tmp_path: Path
) -> None:
    put(tmp_path / "train", "a.jpg")
    write(tmp_path / name, text)
    found = load_photos([tmp_path / "train"])
    assert captions(found) == {"a.jpg": None}
    (note,) = found.skipped
    assert "describes these photos, and it is used where the folder that it lies in is named" in note
    assert captions(load_photos([tmp_path])) == {"a.jpg": "sks dog"}

    write(tmp_path / name, text.replace("train/a", "elsewhere/b"))  # that of other photos is nobody's concern
    assert load_photos([tmp_path / "train"]).skipped == ()


def test_folders_without_photos_are_accounted_for(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "train/2.jpg")
    write(tmp_path / "notes" / "deep" / "x.doc", b"\0\1")
    write(tmp_path / "metadata.jsonl", '{"file_name": "train/2.jpg", "text": "x"}')
    (note,) = load_photos([tmp_path]).skipped
    assert note.endswith("notes skipped: a folder without photos.")


@pytest.mark.parametrize(
    ("name", "head", "told"),
    [
        ("photos.zip", b"PK\3\4xx", "is a ZIP archive; unpack it"),
        ("00000.tar", b"\0" * 257 + b"ustar\0", "is a TAR archive; unpack it"),
        ("train-00000.parquet", b"PAR1xxPAR1", "is a Parquet table, not a photo"),
        ("film.mov", b"\0\0\0\x14ftypqt  ", "is a video"),
    ],
)
def test_what_lies_there_in_place_of_photos_is_named(name: str, head: bytes, told: str, tmp_path: Path) -> None:
    write(tmp_path / name, head)
    assert f"holds no photos: {name} {told}" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["x.jpg.heic", "x.HEIC", "raw/x.HEIC", "x.tga"])
def test_a_picture_beside_its_own_jpeg_is_left_out_in_other_places_too(name: str, tmp_path: Path) -> None:
    photo = "jpg/x.jpg" if "/" in name else "x.jpg.jpg" if name == "x.jpg.heic" else "x.jpg"
    put(tmp_path, photo)
    write(tmp_path / name, b"\0\0\0\x18ftypheic\0\0\0\0")
    found = load_photos([tmp_path])
    assert names(found) == [Path(photo).name]
    assert "booth does not read" in found.skipped[0]


def test_the_name_of_a_converted_picture_may_hold_the_former_suffix(tmp_path: Path) -> None:
    put(tmp_path, "IMG_1.HEIC.jpg")
    write(tmp_path / "IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0")
    assert names(load_photos([tmp_path])) == ["IMG_1.HEIC.jpg"]


@pytest.mark.parametrize("brands", [b"mif2\0\0\0\0miaf", b"heio\0\0\0\0mif1heic", b"miaf\0\0\0\0"])
def test_heic_is_known_by_what_it_is_compatible_with(brands: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.heic", (8 + len(brands)).to_bytes(4) + b"ftyp" + brands)
    assert "is a HEIC photo" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".tga", ".ppm", ".exr", ".x3f"])
def test_a_picture_of_any_kind_that_is_not_read_is_refused(suffix: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path / f"b{suffix}", b"P6 12345678")
    assert f"b{suffix} is no JPEG" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "repeats"),
    [("010_sks dog", 10), ("12345_sks dog", 12345), ("2024_trip", None), ("0_sks dog", None), ("02024_x", None)],
)
def test_repeats_of_kohya(name: str, repeats: int | None, tmp_path: Path) -> None:
    found = kohya(tmp_path / name)
    assert (found.repeats if found else None) == repeats


def test_characters_of_no_width_are_no_part_of_a_caption(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path / "a.txt", "\ufeff\ufeffsks\u200b dog\u2060")
    assert captions(load_photos([tmp_path])) == {"a.jpg": "sks dog"}


def test_sizes_are_told_so_that_they_differ_and_zeros_are_no_utf16(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path / "a.txt", "dog " * 20_000)
    assert "a.txt has 80.0 kB, the most is 65.5 kB" in refusal(tmp_path)
    with pytest.raises(BadDataError, match="UTF-16"):
        decode_text("sks dog".encode("utf-16-le"))
    assert decode_text(bytes(20)) == "\0" * 20
