"""What ComfyUI stacks of Qwen-Image-2.1's transformer, whose authors' names are diffusers'."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.place import Place, of_blocks

FUSED = {"img_mlp.gate_up": ("img_mlp.gate_layer", "img_mlp.proj")}


def is_qwen_image_2_1(names: Iterable[str]) -> bool:
    """Whether tensors are Qwen-Image-2.1's."""
    return "transformer_blocks.0.img_mlp.gate_layer.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have others stacked in them."""
    return of_blocks(modules, r"(transformer_blocks\.(\d+)\.)(.+)", "transformer_blocks.{}.", {}, FUSED)
