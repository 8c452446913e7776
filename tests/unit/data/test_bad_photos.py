"""The bad-photo corpus: each file is named, with a reason and a way out, and all of them in one error."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import animated, encoded, jpeg, jpeg_header, picture, png, png_header, webp, webp_header

from booth.core.errors import BadDataError
from booth.data.photos import load_photos


def _cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(share * len(data))]


CORPUS: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "is empty"),
    "truncated.jpg": (_cut(jpeg()), "broken or truncated JPEG"),
    "truncated.png": (_cut(png()), "broken or truncated PNG"),
    "truncated.webp": (_cut(webp()), "broken or truncated WEBP"),
    "magic-only.jpg": (b"\xff\xd8\xff", "broken or truncated JPEG"),
    "magic-only.png": (b"\x89PNG\r\n\x1a\n", "broken or truncated PNG"),
    "magic-only.webp": (b"RIFF\0\0\0\0WEBP", "broken or truncated WEBP"),
    "flipped-bit.png": (png().replace(b"IDAT", b"IDAU"), "broken or truncated PNG"),
    "zeros.jpg": (bytes(5000), "is no JPEG, PNG or WebP"),
    "text.jpg": (b"these are not the pixels you are looking for", "is no JPEG, PNG or WebP"),
    "page.png": (b"<!DOCTYPE html><title>404</title>", "is a web page"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "archive.png": (b"PK\x03\x04" + bytes(40), "ZIP archive"),
    "document.jpg": (b"%PDF-1.7", "is a PDF"),
    "clip.jpg": (b"\0\0\0\x20ftypisom" + bytes(40), "is a video"),
    "phone.jpg": (b"\0\0\0\x20ftypheic" + bytes(40), "is a HEIC photo"),
    "IMG_1.HEIC": (b"\0\0\0\x20ftypheic" + bytes(40), "is a HEIC photo"),
    "new.avif": (b"\0\0\0\x20ftypavif" + bytes(40), "is an AVIF"),
    "gif.png": (encoded(picture(), "GIF"), "is a GIF"),
    "real.gif": (encoded(picture(), "GIF"), "is a GIF"),
    "scan.tif": (encoded(picture(), "TIFF"), "is a TIFF"),
    "old.bmp": (encoded(picture(), "BMP"), "is a BMP"),
    "apng.png": (animated("PNG"), "is animated"),
    "moving.webp": (animated("WEBP"), "is animated"),
    "tiny.png": (encoded(picture(0, (31, 400)), "PNG"), "is tiny (31x400)"),
    "dot.jpg": (encoded(picture(0, (1, 1)), "JPEG"), "is tiny (1x1)"),
    "enormous.png": (png_header(40_000, 30_000), "megapixels"),
    "large.png": (png_header(8000, 5001), "has 40 megapixels (8000x5001)"),
    "enormous.jpg": (jpeg_header(60_000, 60_000), "megapixels"),
    "enormous.webp": (webp_header(16_384, 16_384), "has 268 megapixels"),
}


def problems(*sources: Path) -> list[str]:
    """The bullets of the one error."""
    with pytest.raises(BadDataError) as caught:
        load_photos(list(sources))
    lines = str(caught.value).split("\n")
    if len(lines) > 1:
        assert lines[0].endswith("nothing was written:")
    return lines[1:] or lines


def test_the_whole_corpus_is_named_in_one_error(tmp_path: Path) -> None:
    for name, (data, _) in CORPUS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.jpg").write_bytes(jpeg())
    before = sorted(os.listdir(tmp_path))
    lines = problems(tmp_path)
    assert len(lines) == len(CORPUS) >= 20
    for name, (_, reason) in CORPUS.items():
        line = next(line for line in lines if f"{tmp_path / name} " in line)
        assert reason in line
        assert "; " in line, "says what to do"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", CORPUS)
def test_each_is_an_error_alone_and_as_a_listed_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(CORPUS[name][0])
    assert len(problems(tmp_path)) == len(problems(path)) == 1


def _folder(path: Path) -> None:
    path.mkdir()


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _outside(path: Path) -> None:
    target = path.parent.parent / "outside.jpg"
    target.write_bytes(jpeg())
    path.symlink_to(target)


def _link_to_folder(path: Path) -> None:
    (path.parent / "inner").mkdir()
    path.symlink_to("inner")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_folder, "is a folder"),
        (_broken_link, "is a link to a place that does not exist"),
        (_loop, "is a link to a place that does not exist"),
        (_outside, "is a link to a place outside the folder"),
        (_link_to_folder, "is a link to a folder"),
        (_pipe, "is not a regular file"),
        (_socket, "is not a regular file"),
    ],
)
def test_what_only_looks_like_a_photo_is_named(make: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(jpeg())
    make(folder / "photo.jpg")
    (line,) = problems(folder)
    assert f"{folder / 'photo.jpg'} {reason}" in line


def test_a_link_inside_the_folder_and_a_link_that_was_named_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    (folder / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "alias").symlink_to(folder)
    assert len(load_photos([folder]).photos) == 2
    assert len(load_photos([tmp_path / "alias"]).photos) == 2
    (tmp_path / "named.jpg").symlink_to(folder / "a.jpg")
    assert len(load_photos([tmp_path / "named.jpg"]).photos) == 1


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    read = Path.read_bytes

    def guarded(path: Path) -> bytes:  # taking the permission away would not stop a test that runs as root
        if path.name == "secret.jpg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert problems(tmp_path) == [
        f"  - {tmp_path / 'secret.jpg'} cannot be read: no permission; allow it with `chmod u+r`."
    ]


def test_a_folder_that_cannot_be_listed_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    (line,) = problems(tmp_path)
    assert "cannot be listed (Permission denied)" in line


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(3_000_000_000)  # a hole, not three gigabytes
    (line,) = problems(tmp_path)
    assert "has 3.0 GB, the most is 400.0 MB" in line


def test_missing_and_nameless_sources(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "missing.jpg")
    assert "does not exist" in line
    (line,) = problems(Path("nul\0byte.jpg"))
    assert "cannot be read" in line
    assert "There are no photos" in problems()[0]


def test_a_folder_without_photos_is_a_clear_error(tmp_path: Path) -> None:
    (line,) = problems(tmp_path)
    assert "holds no photos" in line
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / ".hidden.jpg").write_bytes(jpeg())
    assert "holds no photos" in problems(tmp_path)[0]


def test_a_listed_file_that_is_no_photo_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    (line,) = problems(tmp_path / "a.jpg", tmp_path / "notes.txt")
    assert "notes.txt is no JPEG, PNG or WebP" in line


def test_names_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n.jpg").write_bytes(b"x")
    with contextlib.suppress(OSError):  # not every filesystem takes bytes that are no text
        (tmp_path / os.fsdecode(b"b\xff.jpg")).write_bytes(b"x")
    text = "".join(problems(tmp_path))
    assert text.isprintable()
    assert r"a\x1b[31m\n.jpg" in text


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(
        st.from_regex(r"[a-c]\.(jpg|txt|caption|webp)|metadata\.jsonl", fullmatch=True), st.binary(max_size=60)
    )
)
def test_a_folder_of_random_bytes_is_bad_data_and_nothing_else(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(BadDataError):
        load_photos([folder])
