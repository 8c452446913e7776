"""What a run takes: seconds by part, and the most memory."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from booth.core.json_values import Json


class Clock:
    """Seconds spent on each part of a run, parts before a resume included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._before = 0.0
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Generator[None]:
        """Count what happens within this context as `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Count `seconds` as `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def total(self) -> float:
        """Wall time of the whole run."""
        return self._before + time.perf_counter() - self._began

    def state(self) -> dict[str, Json]:
        """Plain values for a checkpoint."""
        return {"total": self.total, "parts": self.seconds}

    def load_state(self, values: dict[str, Any]) -> None:
        """Add what was spent before a resume."""
        self._before += values["total"]
        for name, seconds in values["parts"].items():
            self.add(name, seconds)


def forget_peak_memory(device: str) -> None:
    """Count memory from here on, so that a run does not answer for those before it in the same process.

    On macOS the system keeps the highest mark of the whole process.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):  # some containers hide it; the mark is then the process's
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def device_memory(device: str) -> dict[str, int]:
    """`device_bytes`, the bytes of a GPU's memory that tensors take now; nothing where there is no such memory."""
    return {"device_bytes": torch.cuda.memory_allocated(device)} if device.startswith("cuda") else {}


def peak_memory(device: str) -> int:
    """The most bytes that were taken at once: on the GPU, or else by this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
