"""What Sana's authors call each layer of its transformer that diffusers has."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.place import Place, of_blocks

TOP = {
    "patch_embed.proj": "x_embedder.proj", "time_embed.linear": "t_block.1", "caption_norm": "attention_y_norm",
    "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    "proj_out": "final_layer.linear",
}  # fmt: skip
BLOCK = {
    "attn1.to_out.0": "attn.proj", "attn2.to_q": "cross_attn.q_linear", "attn2.to_out.0": "cross_attn.proj",
    "ff.conv_inverted": "mlp.inverted_conv.conv", "ff.conv_depth": "mlp.depth_conv.conv",
    "ff.conv_point": "mlp.point_conv.conv",
}  # fmt: skip
FUSED = {"attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"), "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v")}


def is_sana(names: Iterable[str]) -> bool:
    """Whether tensors are Sana's."""
    return "transformer_blocks.0.ff.conv_inverted.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have another name there, or others stacked in them."""
    modules = list(modules)
    found = {TOP[module]: Place((module,)) for module in modules if module in TOP}
    return found | of_blocks(modules, r"(transformer_blocks\.(\d+)\.)(.+)", "blocks.{}.", BLOCK, FUSED)
