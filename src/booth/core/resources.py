"""How much memory and how many cores there are to work with. Reads only."""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container, v2 and v1


def cores() -> int:
    """How many processor cores this process may use; where the system does not tell, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory() -> tuple[int, int]:
    """Bytes of memory in all and free for use; 0 where the system does not tell."""
    if sys.platform == "linux":
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0
    return 0, 0


def available_memory(device: str) -> int:
    """Bytes of memory that a run on `device` can have: the GPU's, or the machine's or container's; 0 if unknown.

    All of it, used or not, so that the same run is planned alike whenever it is started or resumed.
    """
    if device.startswith("cuda"):
        import torch

        cuda: Any = torch.cuda
        return int(cuda.get_device_properties(device).total_memory)
    total = machine_memory()[0]
    for file in map(Path, LIMITS):
        limit = file.read_text().strip() if file.is_file() else ""
        if limit.isdigit() and total:
            return min(total, int(limit))
    return total
