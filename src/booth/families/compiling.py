"""Compiling the blocks that a denoiser repeats, one kind of block once, and leaving them as they are while drawing."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

from booth.core.cache import cache_folder


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks that diffusers names as the repeated ones of a denoiser."""
    kinds = getattr(network, "_repeated_blocks", None) or ()
    return [module for module in network.modules() if type(module).__name__ in kinds]


def missing_compiler(device: str) -> str | None:
    """What is missing to compile for a device, in words; None if nothing is."""
    if device.startswith("cuda"):
        return None if importlib.util.find_spec("triton") else "Triton, which torch's builds for GPUs bring along"
    return None if any(map(shutil.which, ("g++", "clang++", "cl"))) else "a C++ compiler, such as g++"


def compile_blocks(network: nn.Module, **how: object) -> int:
    """Have the repeated blocks compiled when they are next computed; how many there are.

    What was compiled is kept in the cache folder for later runs. `how` is what torch.compile takes.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    blocks = repeated_blocks(network)
    for block in blocks:
        block.compile(**how)
    return len(blocks)


def is_compiled(network: nn.Module) -> bool:
    """Whether blocks of it are to be compiled, or are already."""
    return any(block._compiled_call_impl is not None for block in repeated_blocks(network))


def leave_as_they_are(network: nn.Module) -> None:
    """Have no block compiled any more."""
    for block in repeated_blocks(network):
        block._compiled_call_impl = None


@contextmanager
def as_they_are(network: nn.Module | None) -> Generator[None]:
    """Within this context no block is compiled: pictures have other shapes than rows, for which all would be anew."""
    blocks = [] if network is None else repeated_blocks(network)
    kept = [block._compiled_call_impl for block in blocks]
    for block in blocks:
        block._compiled_call_impl = None
    try:
        yield
    finally:
        for block, compiled in zip(blocks, kept, strict=True):
            block._compiled_call_impl = compiled
