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
# One layer there, several here, in the order of their rows.
DOUBLE_FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
SINGLE_FUSED = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}
BLOCK = re.compile(r"((single_)?transformer_blocks\.(\d+)\.)(.+)")


def transformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's state; UsageError for a weight that the original code has no place for."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        place = place_of(module)
        if place is None:
            raise UsageError(f"FLUX.1's original layout has no place for {name}. Use --to diffusers.")
        there, ours = place
        if module != ours[0]:
            continue
        # There the last layer's modulation is shift and scale, here scale and shift.
        parts = tensor.chunk(2)[::-1] if module == "norm_out.linear" else [state[f"{our}.{kind}"] for our in ours]
        found[f"{there}.{'scale' if there.endswith('_norm') else kind}"] = torch.cat([*parts])
    return found


def place_of(module: str) -> tuple[str, tuple[str, ...]] | None:
    """The layer there that has a module's rows, and all modules here whose rows it stacks; None if there is none."""
    if module in TOP:
        return TOP[module], (module,)
    match = BLOCK.fullmatch(module)
    if match is None:
        return None
    start, single, number, rest = match.groups()
    plain, fused = (SINGLE, SINGLE_FUSED) if single else (DOUBLE, DOUBLE_FUSED)
    place = f"{'single' if single else 'double'}_blocks.{number}."
    if rest in plain:
        return place + plain[rest], (module,)
    return next(
        ((place + there, tuple(start + p for p in parts)) for there, parts in fused.items() if rest in parts), None
    )
