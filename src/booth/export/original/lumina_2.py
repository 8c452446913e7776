"""What Lumina-Image 2.0's authors call each layer of its transformer that diffusers has."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.place import Place, with_refiners

TIME = "time_caption_embed."
TOP = {
    f"{TIME}caption_embedder.0": "cap_embedder.0", f"{TIME}caption_embedder.1": "cap_embedder.1",
    f"{TIME}timestep_embedder.linear_1": "t_embedder.mlp.0", f"{TIME}timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm_out.linear_1": "final_layer.adaLN_modulation.1", "norm_out.linear_2": "final_layer.linear",
}  # fmt: skip
BLOCK = {
    "attn.to_out.0": "attention.out", "attn.norm_q": "attention.q_norm", "attn.norm_k": "attention.k_norm",
    "feed_forward.linear_1": "feed_forward.w1", "feed_forward.linear_2": "feed_forward.w2",
    "feed_forward.linear_3": "feed_forward.w3", "norm1.linear": "adaLN_modulation.1",
    "norm1.norm": "attention_norm1", "norm1": "attention_norm1", "norm2": "attention_norm2",
}  # fmt: skip
FUSED = {"attention.qkv": ("attn.to_q", "attn.to_k", "attn.to_v")}


def is_lumina_2(names: Iterable[str]) -> bool:
    """Whether tensors are Lumina-Image 2.0's."""
    return f"{TIME}caption_embedder.1.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have another name there, or others stacked in them."""
    return with_refiners(modules, TOP, BLOCK, FUSED)
