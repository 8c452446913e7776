"""How many threads add up a sum decides its last bits."""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def computing_with(threads: int | None) -> Generator[None]:
    """Within this context torch computes with so many threads; with as many as before if None."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
