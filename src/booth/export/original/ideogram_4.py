"""What trainers of Ideogram 4 call each layer of its transformer that diffusers has."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.place import Place, of_blocks

FUSED = {"attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v")}


def is_ideogram_4(names: Iterable[str]) -> bool:
    """Whether tensors are Ideogram 4's."""
    return "embed_image_indicator.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have another name there, or others stacked in them."""
    return of_blocks(modules, r"(layers\.(\d+)\.)(.+)", "layers.{}.", {"attention.to_out.0": "attention.o"}, FUSED)
