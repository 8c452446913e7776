"""Which way of teaching a base fits into memory, counted from the headers of its files; nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.core.method import Method
from booth.families.recognition import recognise
from booth.registry import FAMILIES, METHODS

BYTES = {"fp32": 4, "bf16": 2}  # a value of the frozen weights
STATE = {"adamw": 8, "adamw8bit": 2}  # the optimiser's two moments of a trained value
TRAINED = 8  # a trained value and its gradient, always in float32


@dataclass(frozen=True)
class MemoryPlan:
    """One way of teaching, and what its weights, gradients and moments take. Activations come on top.

    What an adapter or a token trains is not counted: it is small beside the base. ControlNet, which trains a copy of
    half the denoiser, is not told.
    """

    methods: tuple[str, ...]
    base_precision: str
    optimizer: str
    bytes: int
    fits: bool


def memory_plans(folder: Path, room: int) -> list[MemoryPlan]:
    """For the methods that leave the denoiser frozen, and for those that train it, the first plan within `room` bytes.

    Where none fits it is the smallest one, marked so.
    """
    family: Any = FAMILIES[recognise(folder)]
    denoiser = family.denoiser[0]
    values = values_of_parts(folder)
    whole, trained = sum(values.values()), values.get(denoiser, 0)
    kinds: dict[str, type[Method]] = {
        name: METHODS[name]
        for name in METHODS
        if set(METHODS[name].needs) <= set(family.offers) and "control" not in METHODS[name].needs
    }
    chosen: list[MemoryPlan] = []
    for trains_denoiser in (False, True):
        methods = tuple(name for name, kind in kinds.items() if _trains_all(kind) == trains_denoiser)
        size = trained if trains_denoiser else 0
        choices = [("fp32", "adamw"), ("bf16", "adamw"), *([("bf16", "adamw8bit")] if trains_denoiser else [])]
        plans = [
            MemoryPlan(methods, precision, optimizer, needed, needed <= room)
            for precision, optimizer in choices
            for needed in [(whole - size) * BYTES[precision] + size * (TRAINED + STATE[optimizer])]
        ]
        if methods:
            chosen.append(next((plan for plan in plans if plan.fits), plans[-1]))
    return chosen


def _trains_all(kind: type[Method]) -> bool:
    """Whether the whole denoiser is trained; Custom Diffusion, of all that change it, trains some 5 % of it."""
    return "denoiser" in kind.needs and "cross_attention" not in kind.needs


def values_of_parts(folder: Path) -> dict[str, int]:
    """How many values each part of a diffusers folder holds, by the part's name."""
    parts: dict[str, int] = {}
    for file in sorted(folder.glob("*/*.safetensors")):
        parts[file.parent.name] = parts.get(file.parent.name, 0) + sum(values_in(file))
    return parts


def values_in(file: Path) -> Iterator[int]:
    """How many values each tensor of a safetensors file holds, read from its header alone."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    return (math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
