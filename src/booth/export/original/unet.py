"""What the original code of Stable Diffusion 1.x, 2.x and XL calls each layer of a U-Net, or of a ControlNet's copy."""

from __future__ import annotations

import re
from collections.abc import Iterable

TOP = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
       "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
       "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip


def unet_keys(names: Iterable[str]) -> dict[str, str]:
    """The original key of each tensor that has one, without the prefix of a whole model."""
    names = list(names)
    per_level = 1 + max(int(m[1]) for m in map(re.compile(r"down_blocks\.0\.resnets\.(\d+)").match, names) if m)
    attending = {m[1] for m in map(re.compile(r"up_blocks\.(\d+)\.attentions\.").match, names) if m}
    found = {name: _key(name, per_level, attending) for name in names}
    return {name: key for name, key in found.items() if key is not None}


def _key(name: str, per_level: int, attending: set[str]) -> str | None:
    module, _, kind = name.rpartition(".")
    if module in TOP:
        return f"{TOP[module]}.{kind}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", module):
        place = f"middle_block.{1 if found[1] == 'attentions' else 2 * int(found[2])}"
        return f"{place}.{RESNET.get(found[3], found[3])}.{kind}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", module)
    if found is None:
        return None
    side, level, part, i, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    each = per_level + 1
    if side == "down":
        if part == "downsamplers":
            return f"input_blocks.{(level + 1) * each}.0.op.{kind}"
        block = f"input_blocks.{1 + level * each + i}"
    else:
        block = f"output_blocks.{level * each + (per_level if part == 'upsamplers' else i)}"
    if part == "upsamplers":
        return f"{block}.{2 if found[2] in attending else 1}.conv.{kind}"
    if part == "attentions":
        return f"{block}.1.{rest}.{kind}"
    return f"{block}.0.{RESNET[rest]}.{kind}" if rest in RESNET else None
