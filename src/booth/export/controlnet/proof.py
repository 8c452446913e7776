"""The names in a ControlNet file of lllyasviel's code, found by building the model as its cldm.py does.

`ControlNet` there is the encoder half of `UNetModel`. Beside every input block it appends a 1x1 convolution, the zero
convolutions, and one more behind the middle; the hint goes through eight 3x3 convolutions with an activation between
two of them, all members of one `Sequential`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from booth.export.checkpoint.proof import Names, Reading, by_names, encoder_names, take

RULES = "the original code's reading of ControlNets"
PREFIX = "control_model."  # where the network is a part of a whole model; files of it alone may leave it out
HINT = ("conv_in", *(f"blocks.{i}" for i in range(6)), "conv_out")  # diffusers' names, in the order of use


def read(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Reading:
    """Read a file for a ControlNet whose weights have these shapes under diffusers' names."""
    reading = Reading()
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    used = take(reading, "controlnet", tensors, shapes, by_names(names(shapes), prefix))
    reading.unmatched = sorted(tensors.keys() - used)
    return reading


def names(shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """What diffusers calls each module, and the original code."""
    found = encoder_names(shapes)
    blocks = {int(path.split(".")[1]) for path in found.values() if path.startswith("input_blocks.")}
    found |= {f"controlnet_down_blocks.{block}": f"zero_convs.{block}.0" for block in blocks}
    found["controlnet_mid_block"] = "middle_block_out.0"
    found |= {f"controlnet_cond_embedding.{hint}": f"input_hint_block.{2 * i}" for i, hint in enumerate(HINT)}
    return found
