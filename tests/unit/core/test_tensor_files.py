"""The same tensors and words are the same bytes, whoever writes them and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from booth.core.safe_file import read_header
from booth.core.tensor_files import order_metadata, write_tensors

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
NAMES = ("zebra", "format", "ä", "modelspec.title", "c", "b", "a", "x")
WORDS = {name: f'"{name}" \\ \n\t\x01 ü – 犬' for name in NAMES}


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_the_same_is_the_same_bytes_however_often_it_is_written(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.safetensors" for i in range(4)]
    for i, file in enumerate(files):
        turned = list(WORDS)[i:] + list(WORDS)[:i]
        write_tensors(TENSORS, file, {name: WORDS[name] for name in turned})
    assert len({file.read_bytes() for file in files}) == 1
    assert metadata(files[0]) == WORDS
    assert list(read_header(files[0]).metadata) == sorted(WORDS)
    for name, tensor in load_file(files[0]).items():
        assert torch.equal(tensor, TENSORS[name]), name


@pytest.mark.parametrize("words", [None, {}, {"format": "pt"}])
def test_a_file_with_nothing_to_order_stays_as_it_is(tmp_path: Path, words: dict[str, str] | None) -> None:
    file = tmp_path / "file.safetensors"
    save_file(TENSORS, file, words)
    before = file.read_bytes()
    order_metadata(file)
    assert file.read_bytes() == before


def test_what_is_not_contiguous_is_written(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    write_tensors({"turned": torch.arange(6.0).reshape(2, 3).T}, file, {})
    assert torch.equal(load_file(file)["turned"], torch.arange(6.0).reshape(2, 3).T)
