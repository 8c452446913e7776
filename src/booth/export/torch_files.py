"""AUTOMATIC1111's `.pt` files: written with tensors and plain values only; read, where allowed, by a child process."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.core.children import environment, python
from booth.core.errors import UnsafeFileError
from booth.core.json_values import Json
from booth.core.safe_file import read_tensors

SECONDS = 120  # after which the child is ended
KEPT = ("PATH", "PYTHONPATH", "SYSTEMROOT", "LANG", "TMPDIR", "TEMP")  # of the environment: no tokens, no proxies


def save(values: Mapping[str, object] | Mapping[int | str, object], file: Path) -> None:
    """Write tensors and plain values, which `weights_only=True` reads back.

    In the form from before torch 1.6: AUTOMATIC1111 takes a zip with members that it does not know for malicious, and
    each version of torch adds some.
    """
    torch.save(values, file, _use_new_zipfile_serialization=False)


def load(file: Path) -> Any:
    """Read a `.pt` or `.ckpt` whose owner vouches for it: in a child process, with weights_only, never any code.

    Raises UnsafeFileError where the file needs code to be read, or is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = python("booth.export.torch_child", str(file.absolute()), str(out))
        try:
            done = subprocess.run(
                command, env=environment(KEPT), capture_output=True, text=True, timeout=SECONDS, cwd=out
            )
        except subprocess.TimeoutExpired as error:
            raise UnsafeFileError(
                f"{file} was not read after {SECONDS} s.", "Do not use it.", code="file.not_read", field="file"
            ) from error
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["it was ended"])[-1][:200]
            raise UnsafeFileError(
                f"{file} cannot be read without running code of it, or is no such file ({why}).",
                "Get the .safetensors version of it.",
                code="file.runs_code",
                field="file",
            )
        tensors, _ = read_tensors(out / "tensors.safetensors")
        return unpacked(json.loads((out / "values.json").read_text(encoding="utf-8")), tensors)


def packed(value: object, tensors: dict[str, Tensor]) -> Json:
    """Plain JSON for a nest of dictionaries, lists, tensors and plain values; tensors go into `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):  # keys may be whole numbers, which JSON's cannot
        return {"table": [[packed(k, tensors), packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple | set):
        return {"list": [packed(v, tensors) for v in value]}
    return value if isinstance(value, str | int | float | bool) or value is None else {"other": type(value).__name__}


def unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `packed`; tuples come back as lists."""
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "table" in value:
        return {unpacked(k, tensors): unpacked(v, tensors) for k, v in value["table"]}
    return [unpacked(v, tensors) for v in value.get("list", [])]
