"""Threads with one core each, side by side: faster than several cores inside each operation where these are small."""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

MOST = 2  # with more, the interpreter's lock is what they wait for; measured with no more than this

T = TypeVar("T")


def available() -> int:
    """How many workers there is room for: as many as torch may use cores, which OMP_NUM_THREADS limits."""
    return min(MOST, torch.get_num_threads())


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run each task by a worker of its own and return what they return, in order, once all have ended.

    A task computes with one core, so that its numbers do not depend on how many there are. It sees the caller's
    context variables; whether gradients are recorded and what autocast computes in are each thread's own. The error
    of the first task that failed is raised.
    """
    pool = _pool(max(MOST, len(tasks)))
    futures = [pool.submit(copy_context().run, task) for task in tasks]
    wait(futures)
    return [future.result() for future in futures]


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    """Started at once: the number of cores that a thread sets is its own, and also that of all threads to come."""
    cores, started = torch.get_num_threads(), Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread takes over the others' number when it first needs it, so before
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, "booth-worker", start)
    for _ in range(count):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(cores)
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind
