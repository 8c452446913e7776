"""Read a foreign safetensors file without trusting it: nothing of it runs, and every claim of its header is checked.

The format: eight bytes with the header's length, a JSON header {name: {dtype, shape, data_offsets}}, the tensors.
"""

# What JSON holds is unknown until it is checked, and safetensors is annotated in part.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from booth.core.errors import BadDataError, DamagedFileError, UnsafeFileError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 16_000_000  # bytes; a full SDXL checkpoint's is 0.4 MB
MAX_ENTRIES = 50_000
MAX_DIMENSIONS = 8
SIZES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
# What the first bytes of a file give away, and what to do about it.
KINDS = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes (a pickle, which can run code)"),
    (b"\x80\x02", "a pickle, which can run code"),
    (b"\x80\x03", "a pickle, which can run code"),
    (b"\x80\x04", "a pickle, which can run code"),
    (b"\x80\x05", "a pickle, which can run code"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"),
    (b"<", "a web page, such as a failed download"),
    (b"{", "JSON text"),
)
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Entry:
    """What the header says of one tensor; offsets count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    bytes: int  # where the tensors begin in the file


def is_pickle(file: Path) -> bool:
    """Whether the first bytes are those of torch.save, whatever the file is called."""
    with _opened(file) as stream:
        return stream.read(4).startswith(PICKLES)


def read_header(file: Path) -> Header:
    """Check and return the header.

    Raises UnsafeFileError for what is no safetensors file or breaks its rules, DamagedFileError for a truncated one.
    """
    with _opened(file) as stream:
        first = stream.read(24)
        size = file.stat().st_size
        length = struct.unpack("<Q", first[:8])[0] if len(first) >= 8 else -1
        if length < 2 or first[8:9] != b"{":
            raise _foreign(file, first)
        if length > MAX_HEADER:
            raise UnsafeFileError(
                f"{file} has a header of {length:,} bytes; no honest file needs {MAX_HEADER:,}.",
                "Do not use it.",
                code="file.header_too_large",
            )
        if 8 + length > size:
            raise DamagedFileError(
                f"{file} ends within its header: it was cut off.", "Download or copy it again.", code="file.cut_off"
            )
        stream.seek(8)
        values = _parse(file, stream.read(length))
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise _broken(file, "its __metadata__ is no table of words")
    if len(values) > MAX_ENTRIES:
        raise UnsafeFileError(
            f"{file} lists {len(values):,} tensors; no model has more than {MAX_ENTRIES:,}.",
            "Do not use it.",
            code="file.too_many_tensors",
        )
    entries = {name: _entry(file, name, entry) for name, entry in values.items()}
    _require_order(file, entries, size - 8 - length)
    return Header(metadata, entries, 8 + length)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a checked file; BadDataError for one that holds NaN or infinity.

    An adapter's alpha may be infinite: trainers write one that no half has room for where nobody divides it.
    """
    header = read_header(file)
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise _broken(file, str(error)) from error
    for name, tensor in tensors.items():
        if name.endswith(".alpha") and tensor.numel() == 1:
            continue
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise BadDataError(
                f"{file}: {shown(name)} holds NaN or infinity, so that every picture would be black.",
                "Use an earlier save of that training.",
                code="file.not_finite",
            )
    return tensors, header.metadata


def shown(name: str) -> str:
    """A name from a file, fit for a terminal and of bounded length."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return repr(plain if len(plain) <= 120 else plain[:117] + "...")


def _opened(file: Path) -> Any:
    if not file.is_file():
        raise BadDataError(f"{file} is no file.", "Check its name.", code="file.missing")
    return file.open("rb")


def _foreign(file: Path, first: bytes) -> UnsafeFileError | DamagedFileError:
    if not first:
        return DamagedFileError(f"{file} is empty.", "Download or copy it again.", code="file.empty")
    kind = next((kind for start, kind in KINDS if first.startswith(start)), "of an unknown kind")
    return UnsafeFileError(
        f"{file} is no safetensors file: it is {kind}.",
        "Get the .safetensors version of it.",
        code="file.not_safetensors",
    )


def _broken(file: Path, why: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{file} breaks the rules of safetensors: {why}.",
        "Get it anew from where it came from.",
        code="file.breaks_rules",
    )


def _parse(file: Path, text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ValueError("a name stands twice")
        return table

    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _broken(file, f"its header is no JSON ({type(error).__name__})") from error
    if not isinstance(values, dict):
        raise _broken(file, "its header is no table")
    return values


def _entry(file: Path, name: str, values: Any) -> Entry:
    def whole(numbers: Any) -> bool:
        return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)

    if not isinstance(values, dict) or set(values) != {"dtype", "shape", "data_offsets"}:
        raise _broken(file, f"{shown(name)} is described wrongly")
    dtype, shape, offsets = values["dtype"], values["shape"], values["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise _broken(file, f"{shown(name)} has the unknown type {str(dtype)[:20]!r}")
    if not whole(shape) or len(shape) > MAX_DIMENSIONS or not whole(offsets) or len(offsets) != 2:
        raise _broken(file, f"{shown(name)} has an impossible shape or place")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[dtype]:
        raise _broken(file, f"{shown(name)} takes another number of bytes than its shape needs")
    return Entry(dtype, tuple(shape), offsets[0], offsets[1])


def _require_order(file: Path, entries: dict[str, Entry], held: int) -> None:
    """The tensors fill the file without gap or overlap."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != place:
            how = "overlaps another tensor" if entry.start < place else "leaves a gap before it"
            raise _broken(file, f"{shown(name)} {how}")
        place = entry.end
    if place > held:
        raise DamagedFileError(
            f"{file} is cut off: {place - held:,} of its {place:,} bytes of tensors are missing.",
            "Download or copy it again.",
            code="file.cut_off",
        )
    if place < held:
        raise _broken(file, f"{held - place:,} bytes follow that no tensor owns")
