"""Checkpoints: saved whole or not at all, verified on loading, never newest-name-wins.

A checkpoint is a committed folder (`booth.core.commit`) that holds `state.safetensors` (every tensor needed to go
on) and `state.json` (every plain value; Python writes floats so that they read back exactly).
"""

# safetensors is annotated in part.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from booth.core.commit import committed, discard, require_space, size_of, sweep, verify
from booth.core.errors import DamagedFileError, NotFiniteError
from booth.core.sharding import whole

KEEP = 2
AUTOMATIC = 50  # steps between automatic checkpoints, where the budget allows
BUDGET = 0.02  # share of the training time that automatic checkpoints may cost
WRITE_SPEED = 300e6  # bytes a second, supposed until the first checkpoint has been measured
TENSORS = "state.safetensors"
VALUES = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint, read back."""

    folder: Path
    done: int  # finished steps of the whole plan
    tensors: dict[str, Tensor]  # on the CPU
    values: dict[str, Any]


def read_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint's folder, checked; DamagedFileError where a file does not match its hash."""
    verify(folder)
    values = json.loads((folder / VALUES).read_bytes())
    return Checkpoint(folder, _steps_of(folder), load_file(folder / TENSORS), values)


class Checkpoints:
    """The checkpoints of one run, in one folder; the newest good ones are kept, two unless more are wanted."""

    def __init__(self, folder: Path, warn: Callable[[str], None], keep: int = KEEP) -> None:
        self.folder = folder
        self._keep = keep
        self._warn = warn
        self._damaged: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)

    def __len__(self) -> int:
        return len(self._found())

    def require_space(self, size: int, every: int | None, more: int) -> None:
        """DiskFullError without room for as many of `size` bytes as will lie here at once, and for `more` bytes."""
        copies = 1 if every == 0 else self._keep + 1  # a new one is written before an old one goes
        require_space(self.folder, copies * size + more - size_of(self.folder))

    def save(self, done: int, tensors: Mapping[str, Tensor], values: Mapping[str, object]) -> Path:
        """Commit the state after `done` steps, then prune.

        Raises NotFiniteError for a tensor that is not finite, and DiskFullError; both leave the former ones alone.
        """
        require_finite(tensors)
        folder = self.folder / f"ckpt-{done:06d}"
        about = {"kind": "checkpoint", "step": done, "tensors": len(tensors)}
        with committed(folder, about, needed=size_of_tensors(tensors)) as work:
            save_file(_unshared(tensors), work / TENSORS)
            (work / VALUES).write_text(json.dumps(values), encoding="utf-8")
        self._prune(folder)
        return folder

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that matches its hashes; None if there are none at all.

        Each damaged one is named in a warning and passed over; DamagedFileError if no good one is left.
        """
        found = self._found()
        for folder in reversed(found):
            try:
                return read_checkpoint(folder)
            except DamagedFileError as error:
                self._damaged.append(folder)
                self._warn(f"The checkpoint {folder.name} is damaged and is passed over: {error}")
        if found:
            raise DamagedFileError(
                f"No checkpoint in {self.folder} is undamaged.",
                f"Delete {self.folder.parent} and train again.",
                code="checkpoint.none_whole",
                field="out",
            )
        return None

    def _found(self) -> list[Path]:
        return sorted((p for p in self.folder.glob("ckpt-*") if re.fullmatch(r"ckpt-\d+", p.name)), key=_steps_of)

    def _prune(self, newest: Path) -> None:
        """Keep the newest good ones. What lies ahead of the newest was damaged, or the run would be there."""
        damaged = {p for p in self._damaged if p != newest}
        good = [p for p in self._found() if p not in damaged and _steps_of(p) <= _steps_of(newest)]
        for folder in self._found():
            if folder not in good[-self._keep :]:
                discard(folder)
        self._damaged.clear()


class Pace:
    """When a checkpoint is due: every so many steps, or as often as a small share of the time allows."""

    def __init__(self, every: int | None) -> None:
        self._automatic = every is None
        self._every = AUTOMATIC if every is None else every
        self._began = time.perf_counter()
        self._speed = WRITE_SPEED
        self.seconds = 0.0  # spent on checkpoints so far

    def due(self, done: int, size: int, boundary: bool = False) -> bool:
        """Whether to save `size` bytes after `done` steps, or at the end of a stage, which is a `boundary`.

        An interval of 0 means only when the run is stopped.
        """
        if self._every == 0 or (done % self._every != 0 and not boundary):
            return False
        cost = self.seconds + size / self._speed
        return not self._automatic or cost <= BUDGET * (time.perf_counter() - self._began)

    def spent(self, size: int, seconds: float) -> None:
        """Count a checkpoint that took `seconds`, and learn the speed of the disk from it."""
        self.seconds += seconds
        self._speed = size / max(seconds, 1e-6)


def size_of_tensors(tensors: Mapping[str, Tensor]) -> int:
    """Bytes that tensors take in a file."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise NotFiniteError that names the first tensor with an infinite or NaN value."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(whole(tensor)).all()):
            raise NotFiniteError(
                f"The tensor {name} is not finite and is not saved.",
                "Train with a lower `learning_rate` (with "
                "`optimizer=adamw`, for prodigy ignores it), or with `precision=fp32`.",
                code="checkpoint.not_finite",
                field="settings.learning_rate",
            )


def _steps_of(folder: Path) -> int:
    return int(folder.name.removeprefix("ckpt-"))


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, each with memory of its own, as safetensors wants them."""
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        own[name] = tensor
    return own
