"""What Black Forest Labs' code calls each layer of FLUX.1's transformer that diffusers has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from booth.export.original.place import Place

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


def is_flux(names: Iterable[str]) -> bool:
    """Whether tensors are FLUX.1's: Stable Diffusion 3 has no single-stream blocks, FLUX.2 is told no pooled vector."""
    names = set(names)
    single = any(name.startswith("single_transformer_blocks.") for name in names)
    return single and "time_text_embed.text_embedder.linear_1.weight" in names


def is_chroma(names: Iterable[str]) -> bool:
    """Whether tensors are Chroma's, which makes its modulation in a network of its own."""
    return "distilled_guidance_layer.in_proj.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The authors' layers, norms included; in the last one's modulation shift and scale stand the other way round."""
    found = {place.modules[0]: (name, place) for name, place in map(_named, modules) if place is not None}
    return dict(found.values())


def _named(module: str) -> tuple[str, Place | None]:
    place = place_of(module)
    return ("", None) if place is None else (place[0], Place(place[1], swapped=module == "norm_out.linear"))


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
