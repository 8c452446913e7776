"""This process: what tells it from a later one of the same number, and how it keeps its memory."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

LARGE = 32 << 20  # bytes, the most that glibc takes for this
TRIM, TOP, MAP = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of malloc.h
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Process(TypedDict):
    """A process, as files name it."""

    pid: int
    started: str | None  # a text that no other process of this number has, of this boot or another
    host: str


def this_process() -> Process:
    """This one."""
    return {"pid": os.getpid(), "started": process_started(os.getpid()), "host": platform.node()}


def process_started(pid: int) -> str | None:
    """When the process of this number began, in the system's own words; None if there is none or nobody can tell.

    On Linux the clock ticks since boot (the 22nd field of /proc/PID/stat) and the boot's id, elsewhere what `ps` says.
    """
    if sys.platform == "linux":
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        if state in "ZX":  # it ended, and whoever started it has not asked how
            return None
        ticks = fields[18]
        return f"{ticks} {BOOT.read_text().strip() if BOOT.is_file() else ''}".strip()
    if os.name == "nt":
        return None
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def process_memory(pid: int) -> int | None:
    """The bytes of memory that the process of this number holds now; None if there is none or nobody can tell."""
    if sys.platform == "linux":
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")
    if os.name == "nt":
        return None
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(told.stdout) * 1024 if told.stdout.strip().isdecimal() else None


def is_running(process: Mapping[str, Any]) -> bool:
    """Whether what `this_process` told is still running. Of another host, and where nobody can tell, it is assumed."""
    if process["host"] != platform.node() or os.name == "nt":
        return True
    return process["started"] is not None and process_started(process["pid"]) == process["started"]


def keep_freed_memory() -> None:
    """Have the C library keep blocks of less than 32 MB that are freed, as each step asks for the same ones again.

    Left alone, glibc gives the large ones back to the system, which has to clear every page before it lends it anew.
    """
    if sys.platform != "linux":
        return
    tune = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries of Linux have none
    for name, value in ((MAP, LARGE), (TRIM, 2**31 - 1), (TOP, LARGE)):
        if tune is not None:
            tune(name, value)
