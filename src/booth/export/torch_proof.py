"""What AUTOMATIC1111 accepts of a `.pt` (its modules/safe.py), told from the file's opcodes: nothing is unpickled."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO

# What a file may name: storages and what tensors are made of them with. It knows a few more, which booth never writes.
GLOBALS = {
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "torch HalfStorage",
    "torch BFloat16Storage", "torch DoubleStorage", "torch IntStorage", "torch LongStorage", "torch ByteStorage",
}  # fmt: skip
MEMBERS = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")
PICKLES = 5  # in a file of the old form: number, version, machine, content, storages


def refusals(file: Path) -> list[str]:
    """Why the program calls the file malicious; nothing where it loads it."""
    with file.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return [why for _ in range(PICKLES) for why in _forbidden(stream)]
    with zipfile.ZipFile(file) as members:
        names = members.namelist()
        found = [f"AUTOMATIC1111 refuses {name} in it" for name in names if not MEMBERS.fullmatch(name)]
        for name in names:
            if name.endswith("/data.pkl"):
                with members.open(name) as stream:
                    found += _forbidden(stream)
    return found


def _forbidden(stream: IO[bytes]) -> list[str]:
    """What one pickle names that the program does not know; torch writes names as GLOBAL alone."""
    named = [str(arg) for code, arg, _ in pickletools.genops(stream) if code.name in {"GLOBAL", "STACK_GLOBAL"}]
    return [f"AUTOMATIC1111 refuses {name} in it" for name in named if name not in GLOBALS]
