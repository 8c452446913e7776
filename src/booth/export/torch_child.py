"""The child process that reads one `.pt` file: python -m booth.export.torch_child FILE FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from booth.export.torch_files import packed

MEMORY = 16 << 30  # bytes of address space beyond the file's size
SECONDS = 100  # of processor time


def main(file: Path, folder: Path) -> None:
    """Write the file's tensors and its other values into `folder`."""
    _limit(file.stat().st_size)
    tensors: dict[str, Tensor] = {}
    values = packed(torch.load(file, map_location="cpu", weights_only=True), tensors)
    save_file(tensors, folder / "tensors.safetensors")
    (folder / "values.json").write_text(json.dumps(values), encoding="utf-8")


def _limit(size: int) -> None:
    """A file that expands without end ends this process and not the machine."""
    if sys.platform == "win32":
        return
    import resource

    for what, limit in (
        (resource.RLIMIT_AS, MEMORY + 2 * size),
        (resource.RLIMIT_FSIZE, (1 << 26) + 2 * size),
        (resource.RLIMIT_CPU, SECONDS),
    ):
        resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
