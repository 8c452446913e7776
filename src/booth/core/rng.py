"""Randomness derived from (seed, purpose, step): nothing to store, so a resumed run repeats itself bit for bit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part, stable across machines and Python versions."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor that was made on the CPU, on a device; a GPU is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def moved(tensor: Tensor, like: Tensor) -> Tensor:
    """The same, with the type of `like` and on its device."""
    return on_device(tensor.to(like.dtype), like.device)


@dataclass(frozen=True)
class Rng:
    """The source of all randomness of one micro-batch: a fresh stream for each purpose.

    Draws are made on the CPU in float32 and moved, so that a device change does not change the numbers.
    """

    seed: int
    step: int = 0
    micro: int = 0

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator for one purpose, such as "noise" or "timestep"."""
        return torch.Generator().manual_seed(derived_seed(self.seed, self.step, self.micro, purpose))

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        """Standard normal numbers with the shape, type and device of `like`."""
        return moved(torch.randn(like.shape, generator=self.generator(purpose)), like)

    def uniform(self, purpose: str, size: int) -> Tensor:
        """`size` numbers in [0, 1)."""
        return torch.rand(size, generator=self.generator(purpose))

    def integers(self, purpose: str, high: int, size: int) -> Tensor:
        """`size` integers in [0, high)."""
        return torch.randint(high, (size,), generator=self.generator(purpose))
