"""What Black Forest Labs' code calls each weight of FLUX.1's transformer that diffusers has."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from booth.core.errors import UsageError

TOP = {
    "x_embedder": "img_in", "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1", "proj_out": "final_layer.linear",
}  # fmt: skip
DOUBLE = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
}  # fmt: skip
SINGLE = {
    "norm.linear": "modulation.lin", "proj_out": "linear2",
    "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
}  # fmt: skip
# One tensor there, several here: by the first one's name.
DOUBLE_FUSED = {
    "attn.to_q": ("img_attn.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
    "attn.add_q_proj": ("txt_attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
}
SINGLE_FUSED = {"attn.to_q": ("linear1", ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"))}
BLOCK = re.compile(r"((single_)?transformer_blocks\.(\d+)\.)(.+)\.(weight|bias)")


def transformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's state; UsageError for a weight that the original code has no place for."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        if module in TOP:
            # There the last layer's modulation is shift and scale, here scale and shift.
            whole = torch.cat(tensor.chunk(2)[::-1]) if module == "norm_out.linear" else tensor
            found[f"{TOP[module]}.{kind}"] = whole
        else:
            found |= _block(state, name)
    return found


def _block(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What one tensor of a block becomes: nothing if it follows another in a fused one."""
    match = BLOCK.fullmatch(name)
    start, single, number, module, kind = match.groups() if match else ("", None, "", "", "")
    plain, fused = (SINGLE, SINGLE_FUSED) if single else (DOUBLE, DOUBLE_FUSED)
    place = f"{'single' if single else 'double'}_blocks.{number}."
    if module in plain:
        ending = "scale" if plain[module].endswith("_norm") else kind
        return {f"{place}{plain[module]}.{ending}": state[name]}
    if module in fused:
        there, parts = fused[module]
        return {f"{place}{there}.{kind}": torch.cat([state[f"{start}{part}.{kind}"] for part in parts])}
    if any(module in parts for _, parts in fused.values()):
        return {}
    raise UsageError(f"FLUX.1's original layout has no place for {name}. Use --to diffusers.")
