"""The names in a file of FLUX.1's transformer, found by building `Flux` as Black Forest Labs' model.py does.

Each of its modules is noted with the diffusers modules whose rows it stacks: attention projects q, k and v at once,
and a single-stream block all of them with the first layer of its MLP.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from booth.export.checkpoint.proof import Reading

RULES = "the original FLUX code's reading of checkpoints"
PREFIX = "model.diffusion_model."  # of files that hold a whole pipeline
Stacked = dict[str, tuple[str, ...]]  # the original module path: diffusers' ones, in the order of their rows


def read(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Reading:
    """Read a file for a transformer whose weights have these shapes under diffusers' names."""
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    reading, used = Reading(), set[str]()
    state = reading.states.setdefault("transformer", {})
    for module, ours in modules(shapes).items():
        for kind in ("weight", "bias"):
            names = [f"{our}.{kind}" for our in ours]
            if names[0] not in shapes:
                continue
            key = f"{prefix}{module}.{'scale' if module.endswith(('query_norm', 'key_norm')) else kind}"
            if key not in tensors:
                reading.missing.append(key)
                continue
            used.add(key)
            rows = [shapes[name][0] for name in names]
            whole = tensors[key]
            parts = whole.split(rows) if whole.shape[:1] == (sum(rows),) else [whole] * len(rows)
            state |= dict(zip(names, parts, strict=True))
    for kind in ("weight", "bias"):
        name = f"norm_out.linear.{kind}"
        if name in state and state[name].shape == shapes[name]:
            # LastLayer: `shift, scale = modulation.chunk(2)`; diffusers' norm takes the scale first.
            shift, scale = state[name].chunk(2)
            state[name] = torch.cat([scale, shift])
    reading.unmatched = sorted(tensors.keys() - used)
    return reading


def modules(shapes: Mapping[str, tuple[int, ...]]) -> Stacked:
    """Flux.__init__ with as many blocks of each kind as the shapes tell."""
    found: Stacked = {"img_in": ("x_embedder",), "txt_in": ("context_embedder",)}
    embedders = {"time_in": "timestep_embedder", "vector_in": "text_embedder"}
    if "time_text_embed.guidance_embedder.linear_1.weight" in shapes:  # not in schnell
        embedders["guidance_in"] = "guidance_embedder"
    for theirs, ours in embedders.items():
        found[f"{theirs}.in_layer"] = (f"time_text_embed.{ours}.linear_1",)
        found[f"{theirs}.out_layer"] = (f"time_text_embed.{ours}.linear_2",)
    for i in range(_depth(shapes, "transformer_blocks")):
        _double_block(found, f"double_blocks.{i}", f"transformer_blocks.{i}")
    for i in range(_depth(shapes, "single_transformer_blocks")):
        _single_block(found, f"single_blocks.{i}", f"single_transformer_blocks.{i}")
    found["final_layer.linear"] = ("proj_out",)
    found["final_layer.adaLN_modulation.1"] = ("norm_out.linear",)
    return found


def _double_block(found: Stacked, theirs: str, ours: str) -> None:
    """DoubleStreamBlock: the same six parts for the picture and for the text."""
    for stream, added, norm, mlp, out in (
        ("img", "to_{}", "norm_{}", "ff", "to_out.0"),
        ("txt", "add_{}_proj", "norm_added_{}", "ff_context", "to_add_out"),
    ):
        found[f"{theirs}.{stream}_mod.lin"] = (f"{ours}.norm1{'' if stream == 'img' else '_context'}.linear",)
        found[f"{theirs}.{stream}_attn.qkv"] = tuple(f"{ours}.attn.{added.format(x)}" for x in "qkv")
        found[f"{theirs}.{stream}_attn.norm.query_norm"] = (f"{ours}.attn.{norm.format('q')}",)
        found[f"{theirs}.{stream}_attn.norm.key_norm"] = (f"{ours}.attn.{norm.format('k')}",)
        found[f"{theirs}.{stream}_attn.proj"] = (f"{ours}.attn.{out}",)
        found[f"{theirs}.{stream}_mlp.0"] = (f"{ours}.{mlp}.net.0.proj",)
        found[f"{theirs}.{stream}_mlp.2"] = (f"{ours}.{mlp}.net.2",)


def _single_block(found: Stacked, theirs: str, ours: str) -> None:
    """SingleStreamBlock: attention and MLP beside each other."""
    found[f"{theirs}.linear1"] = (*(f"{ours}.attn.to_{x}" for x in "qkv"), f"{ours}.proj_mlp")
    found[f"{theirs}.linear2"] = (f"{ours}.proj_out",)
    found[f"{theirs}.norm.query_norm"] = (f"{ours}.attn.norm_q",)
    found[f"{theirs}.norm.key_norm"] = (f"{ours}.attn.norm_k",)
    found[f"{theirs}.modulation.lin"] = (f"{ours}.norm.linear",)


def _depth(shapes: Mapping[str, tuple[int, ...]], start: str) -> int:
    return len({name.split(".")[1] for name in shapes if name.startswith(f"{start}.")})
