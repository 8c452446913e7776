"""Prompts: files, the subject's name, file names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.core.errors import BadDataError
from booth.generate.prompts import file_names, read_prompts, with_subject


@pytest.mark.parametrize(
    ("prompt", "corrected"),
    [
        ("a photo of sks dog", "a photo of sks dog"),
        ("a photo of SKS dog", "a photo of SKS dog"),
        ("a photo of a dog", "a photo of a sks dog"),
        ("a dog and another dog", "a sks dog and another dog"),
        ("on the beach", "a photo of sks dog on the beach"),
        ("a hotdog", "a photo of sks dog a hotdog"),
        ("a sksy dog", "a sksy sks dog"),
        ("", "a photo of sks dog"),
    ],
)
def test_the_subject_is_named_once(prompt: str, corrected: str) -> None:
    assert with_subject(prompt, "sks", "dog") == corrected


@given(st.text(), st.sampled_from(["sks", "s+k", "a.b"]))
def test_a_corrected_prompt_needs_no_correction(prompt: str, token: str) -> None:
    once = with_subject(prompt, token, "dog")
    assert with_subject(once, token, "dog") == once


def test_a_prompt_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("# contexts\na dog\n\n  a cat \na dog\n", encoding="utf-8")
    assert read_prompts(file) == ["a dog", "a cat"]


@pytest.mark.parametrize(("content", "words"), [(b"# only\n\n", "no prompt"), (b"\xff\xfe\x00", "UTF-8")])
def test_an_empty_or_foreign_prompt_file_is_bad_data(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "p.txt"
    file.write_bytes(content)
    with pytest.raises(BadDataError, match=words):
        read_prompts(file)


def test_a_missing_prompt_file_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="does not exist"):
        read_prompts(tmp_path / "no.txt")


def test_file_names_tell_prompt_and_seed() -> None:
    assert file_names(["a photo of sks dog"] * 2, [7, 8]) == ["a-photo-of-sks-dog-7.png", "a-photo-of-sks-dog-8.png"]


@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_file_names_differ_and_stay_inside_the_folder(prompts: list[str]) -> None:
    names = file_names(prompts, [0] * len(prompts))
    assert len(set(names)) == len(prompts)
    assert all(Path(name).name == name and len(name) < 100 for name in names)
