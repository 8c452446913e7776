"""What Krea 2's authors call each layer of its transformer that diffusers has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from booth.export.original.place import Place, of_blocks

TOP = {
    "img_in": "first", "final_layer.linear": "last.linear", "time_mod_proj": "tproj.1",
    "time_embed.linear_1": "tmlp.0", "time_embed.linear_2": "tmlp.2",
    "txt_in.linear_1": "txtmlp.1", "txt_in.linear_2": "txtmlp.3", "text_fusion.projector": "txtfusion.projector",
}  # fmt: skip
BLOCK = {
    "attn.to_q": "attn.wq", "attn.to_k": "attn.wk", "attn.to_v": "attn.wv", "attn.to_out.0": "attn.wo",
    "attn.to_gate": "attn.gate", "ff.gate": "mlp.gate", "ff.up": "mlp.up", "ff.down": "mlp.down",
}  # fmt: skip
BLOCKS = {
    "transformer_blocks": "blocks", "text_fusion.layerwise_blocks": "txtfusion.layerwise_blocks",
    "text_fusion.refiner_blocks": "txtfusion.refiner_blocks",
}  # fmt: skip


def is_krea_2(names: Iterable[str]) -> bool:
    """Whether tensors are Krea 2's."""
    return "text_fusion.projector.weight" in set(names)


def places(modules: Iterable[str]) -> dict[str, Place]:
    """The layers that have another name there."""
    modules = list(modules)
    found = {TOP[module]: Place((module,)) for module in modules if module in TOP}
    for ours, theirs in BLOCKS.items():
        found |= of_blocks(modules, rf"({re.escape(ours)}\.(\d+)\.)(.+)", theirs + ".{}.", BLOCK, {})
    return found
