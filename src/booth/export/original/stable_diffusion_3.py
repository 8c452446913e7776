"""What Stability AI's code calls each layer of Stable Diffusion 3's transformer that diffusers has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from booth.export.original.place import Place, of_blocks

TOP = {
    "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}  # fmt: skip
BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
}  # fmt: skip
FUSED = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}


def is_stable_diffusion_3(names: Iterable[str]) -> bool:
    """Whether tensors are Stable Diffusion 3's, which has positions in a table and blocks of two streams."""
    names = set(names)
    return {"pos_embed.proj.weight", "transformer_blocks.0.norm1_context.linear.weight"} <= names


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The authors' layers, norms included.

    The last layer's modulation, and the text's in the last block, are of the kind that diffusers has the other way.
    """
    modules = list(modules)
    found = {TOP[module]: Place((module,)) for module in modules if module in TOP}
    found["final_layer.adaLN_modulation.1"] = Place(("norm_out.linear",), swapped=True)
    found |= of_blocks(modules, r"(transformer_blocks\.(\d+)\.)(.+)", "joint_blocks.{}.", BLOCK, FUSED)
    last = max((int(m[1]) for m in map(re.compile(r"joint_blocks\.(\d+)\.").match, found) if m), default=0)
    end = f"joint_blocks.{last}.context_block.adaLN_modulation.1"
    return found | ({end: replace(found[end], swapped=True)} if end in found else {})
