"""The two random matrices that VeRA's layers share, which are not saved but drawn anew from a key (2310.11454)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

KEY = 0  # of the generator, in every file that says no other: peft's own default


def shared_matrices(rank: int, taken: int, given: int, key: int = KEY) -> tuple[Tensor, Tensor]:
    """A (rank, taken) and B (given, rank) as peft's generator with this key draws them, in peft's order."""
    generator = torch.Generator().manual_seed(key)
    down = _kaiming((rank, taken), generator)
    return down, _kaiming((given, rank), generator)


def _kaiming(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Kaiming-uniform numbers as peft draws them."""
    bound = math.sqrt(3.0) * (math.sqrt(2) / math.sqrt(shape[1]))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
