"""Drawing with parts that wait in the machine's memory for their turn on the GPU, through accelerate's hooks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

from booth.core.errors import UsageError

Offload = Literal["none", "model", "sequential"]


@contextmanager
def offloaded(pipe: Any, how: str, device: str) -> Generator[None]:
    """Within this context a pipeline whose parts are on the CPU draws on `device`; afterwards they are as before.

    "model" moves one part after the other there, "sequential" one layer after the other, which needs the least memory
    and the most time. UsageError for another word, or off the GPU.
    """
    if how == "none":
        yield
        return
    enable = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}.get(how)
    if enable is None:
        raise UsageError(
            f"There is no offload {how!r}.",
            "There are: none, model, sequential.",
            code="offload.unknown",
            field="offload",
        )
    if not device.startswith("cuda"):
        raise UsageError(
            f"`offload={how}` moves parts to a GPU, and this is on {device}.",
            "Leave it out.",
            code="offload.without_gpu",
            field="offload",
        )
    getattr(pipe, enable)(device=device)
    try:
        yield
    finally:
        pipe.remove_all_hooks()
