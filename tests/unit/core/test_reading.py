"""Every reader of a person's text knows byte-order marks, line ends and encodings, because it is one reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from booth.cli.import_config import import_config
from booth.compare.experiment import read_setting
from booth.config.loading import load_run_config
from booth.core.errors import BoothError
from booth.core.reading import decode_text, parse_toml
from booth.data.photos import load_photos
from booth.generate.prompts import read_prompts


def _photo(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")


def run_toml(file: Path) -> Any:
    return load_run_config(file, {}).noun


def kohya_toml(file: Path) -> Any:
    import_config(file, file.parent / "out.toml")
    return load_run_config(file.parent / "out.toml", {"photos": ["x"], "noun": "dog"}).settings["rank"]


def prompts(file: Path) -> Any:
    return read_prompts(file)


def caption(file: Path) -> Any:
    _photo(file.parent)
    return load_photos([file.parent]).photos[0].caption


def arms(file: Path) -> Any:
    return read_setting(file.parent).prompts


READERS: dict[str, tuple[str, Callable[[Path], Any], str, Any]] = {
    "run.toml": ("run.toml", run_toml, 'photos = ["x"]\nclass = "dog"\n[settings]\nsteps = 2\n', "dog"),
    "kohya": ("kohya.toml", kohya_toml, '[network]\nnetwork_module = "networks.lora"\nnetwork_dim = 4\n', 4),
    "prompts": ("prompts.txt", prompts, "# a line for people\nä dog\n\na cat\n", ["ä dog", "a cat"]),
    "caption": ("a.txt", caption, "ä dog\n", "ä dog"),
    "metadata.jsonl": ("metadata.jsonl", caption, '{"file_name": "a.png", "text": "ä dog"}\n', "ä dog"),
    "metadata.csv": ("metadata.csv", caption, "file_name,text\na.png,ä dog\n", "ä dog"),
    "study": ("arms.toml", arms, 'prompts = ["a {}"]\n[arms.base]\n', ["a {}"]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_marks_and_line_ends_change_nothing(reader: str, mark: bytes, end: bytes, tmp_path: Path) -> None:
    name, read, text, expected = READERS[reader]
    (tmp_path / name).write_bytes(mark + text.encode().replace(b"\n", end))
    assert read(tmp_path / name) == expected


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_told_as_what_it_is(reader: str, encoding: str, tmp_path: Path) -> None:
    name, read, text, _ = READERS[reader]
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(
        BoothError, match=f"{name} is not UTF-8 text but {encoding[:6].upper()}[;.] [sS]ave it as UTF-8"
    ):
        read(tmp_path / name)


@pytest.mark.parametrize("reader", ["prompts", "caption"])
def test_letters_of_an_older_encoding_are_told(reader: str, tmp_path: Path) -> None:
    name, read, text, _ = READERS[reader]
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(BoothError, match=r"is not UTF-8 text .* older encoding such as Windows-1252"):
        read(tmp_path / name)


@pytest.mark.parametrize("line", ['out = "C:\\Users\\me"', 'photos = ["D:\\photos"]', 'base = "..\\Umodels"'])
def test_a_backslash_that_is_no_escape_is_explained(line: str) -> None:
    with pytest.raises(BoothError, match="write / in paths, or single quotes"):
        parse_toml(f'class = "dog"\n{line}\n')


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('out = "D:\\train\\new"', "tab"),
        ('photos = ["photos\\new"]', "line break"),
        ('[[datasets]]\nimage_directory = "x\\book"', "backspace"),
        ('train_data_dir = "x\\reg"', "line break"),
        ('anything = "C:\\food"', "form feed"),
    ],
)
def test_a_backslash_that_became_another_character_is_explained(line: str, what: str) -> None:
    with pytest.raises(BoothError, match=f"has a {what} inside the path"):
        parse_toml(line)


def test_line_breaks_are_allowed_where_no_path_is_meant() -> None:
    assert parse_toml('question = """one\ntwo"""') == {"question": "one\ntwo"}
    assert parse_toml("out = 'C:\\new'") == {"out": "C:\\new"}


def test_plain_text_is_as_it_was() -> None:
    assert decode_text("ein Hündchen\n\n犬".encode()) == "ein Hündchen\n\n犬"
    assert decode_text(b"a\rb\r\nc") == "a\nb\nc"


def test_a_tilde_is_put_out_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.toml").write_text(
        'photos = "~/rex"\nclass = "dog"\nout = "~/concepts/rex"\nalso = ["~/tom=zwx cat"]\n'
    )
    config = load_run_config(tmp_path / "run.toml", {})
    assert config.photos == [tmp_path / "rex"]
    assert config.out == tmp_path / "concepts" / "rex"
    assert config.also[0].photos == [tmp_path / "tom"]
    (tmp_path / "run.toml").write_text('photos = "~nobody-of-this-name/rex"\nclass = "dog"\n')
    assert load_run_config(tmp_path / "run.toml", {}).photos == [Path("~nobody-of-this-name/rex")]
