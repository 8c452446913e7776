"""What Z-Image's authors call each layer of its transformer that diffusers has."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.place import Place, with_refiners

ENDS = "2-1"  # diffusers has the first and the last layer by the sides of a patch
TOP = {
    f"all_x_embedder.{ENDS}": "x_embedder", f"all_final_layer.{ENDS}.linear": "final_layer.linear",
    f"all_final_layer.{ENDS}.adaLN_modulation.1": "final_layer.adaLN_modulation.1",
}  # fmt: skip
BLOCK = {"attention.to_out.0": "attention.out", "attention.norm_q": "attention.q_norm",
         "attention.norm_k": "attention.k_norm"}  # fmt: skip
FUSED = {"attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v")}


def is_z_image(names: Iterable[str]) -> bool:
    """Whether tensors are Z-Image's."""
    return f"all_x_embedder.{ENDS}.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have another name there, or others stacked in them."""
    return with_refiners(modules, TOP, BLOCK, FUSED)
