"""What Black Forest Labs' code calls each layer of FLUX.2's transformer that diffusers has."""

from __future__ import annotations

from collections.abc import Iterable

from booth.export.original.flux import DOUBLE_FUSED
from booth.export.original.place import Place, of_blocks

TOP = {
    "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
}  # fmt: skip
DOUBLE = {
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0", "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0", "ff_context.linear_out": "txt_mlp.2",
}  # fmt: skip
SINGLE = {
    "attn.to_qkv_mlp_proj": "linear1", "attn.to_out": "linear2",
    "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
}  # fmt: skip


def is_flux_2(names: Iterable[str]) -> bool:
    """Whether tensors are FLUX.2's, whose blocks share their modulation."""
    return "double_stream_modulation_img.linear.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The authors' layers, norms included."""
    modules = list(modules)
    found = {TOP[module]: Place((module,)) for module in modules if module in TOP}
    found["final_layer.adaLN_modulation.1"] = Place(("norm_out.linear",), swapped=True)
    found |= of_blocks(modules, r"(transformer_blocks\.(\d+)\.)(.+)", "double_blocks.{}.", DOUBLE, DOUBLE_FUSED)
    return found | of_blocks(modules, r"(single_transformer_blocks\.(\d+)\.)(.+)", "single_blocks.{}.", SINGLE, {})
