"""Where a layer of the original code is in diffusers' model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """The modules whose rows a layer stacks, in their order; `swapped` where its two halves stand the other way."""

    modules: tuple[str, ...]
    swapped: bool = False


def with_refiners(
    modules: Iterable[str], top: Mapping[str, str], block: Mapping[str, str], fused: Mapping[str, tuple[str, ...]]
) -> dict[str, Place]:
    """The places of a transformer of layers with two refiners before them, as Lumina-Image 2.0 and Z-Image are."""
    modules = list(modules)
    found = {top[module]: Place((module,)) for module in modules if module in top}
    for blocks in ("layers", "noise_refiner", "context_refiner"):
        found |= of_blocks(modules, rf"({blocks}\.(\d+)\.)(.+)", blocks + ".{}.", block, fused)
    return found


def of_blocks(
    modules: Iterable[str],
    pattern: str,
    theirs: str,
    plain: Mapping[str, str],
    fused: Mapping[str, tuple[str, ...]],
) -> dict[str, Place]:
    """The places in all blocks: `pattern` finds (start, number, rest) of a module, `theirs` is their start of a block.

    `plain` has diffusers' names inside a block and theirs, `fused` theirs and the diffusers' ones that it stacks.
    """
    found: dict[str, Place] = {}
    starts: dict[str, str] = {}
    for module in modules:
        match = re.fullmatch(pattern, module)
        if match is None:
            continue
        start, number, rest = match.groups()
        starts[start] = theirs.format(number)
        if rest in plain:
            found[starts[start] + plain[rest]] = Place((module,))
    for start, there in starts.items():
        found |= {there + name: Place(tuple(start + part for part in parts)) for name, parts in fused.items()}
    return found
