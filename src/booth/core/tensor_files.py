"""Tensors in a file of which each byte is decided by what is in it, so that a hash tells whether two are the same."""

# safetensors is annotated in part.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "__metadata__"


def write_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; tensors may not share memory, and metadata are words."""
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in tensors.items()}, file, dict(metadata))
    order_metadata(file)


def order_metadata(file: Path) -> None:
    """Sort the metadata in the header of a file that safetensors has just written.

    The library leaves them in the order of a hash table, which differs from one call to the next. Nothing else moves:
    the header keeps its length.
    """
    with file.open("r+b") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
        found = header.get(METADATA, {})
        if list(found) == sorted(found):
            return
        ordered = {METADATA: dict(sorted(found.items()))} | {k: v for k, v in header.items() if k != METADATA}
        text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        if len(text) != length:
            raise ValueError(f"the header of {file} would be {len(text)} bytes instead of {length}")
        stream.seek(8)
        stream.write(text)
