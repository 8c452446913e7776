"""How this process keeps its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from booth.core.children import environment

FAULTS = """
import ctypes, resource, sys
from booth.core.process import keep_freed_memory

def faults():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        blocks = [libc.malloc(size << 20) for size in (1, 24)]
        for block in blocks:
            ctypes.memset(block, 1, 1 << 20)
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed_memory()
    faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is set")
def test_what_is_freed_is_not_fetched_from_the_system_again() -> None:
    def faults(how: str) -> int:
        run = [sys.executable, "-P", "-c", FAULTS, how]
        return int(subprocess.run(run, check=True, capture_output=True, text=True, env=environment()).stdout)

    assert faults("kept") < 100 < faults("left")
