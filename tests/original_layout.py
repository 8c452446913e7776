"""A tiny Stable Diffusion's tensors under the names that its authors' code gives them (CompVis latent-diffusion)."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}


def unet_key(key: str, layers: int) -> str:
    """The original name of a U-Net tensor; `layers` is layers_per_block."""
    per, resnet = layers + 1, ".resnets." in key
    for ours, theirs in OUTSIDE.items():
        if key.startswith(ours + "."):
            key = theirs + key.removeprefix(ours)
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", key)
    if found:
        side, block, part, layer = found[1], int(found[2]), found[3], int(found[4])
        rest = key[found.end() :]
        if part == "downsamplers":
            key = f"input_blocks.{per * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
        elif part == "upsamplers":
            key = f"output_blocks.{per * block + layers}.2.{rest}"
        else:
            place = 1 + per * block + layer if side == "down" else per * block + layer
            column = 0 if part == "resnets" else 1
            key = f"{'input' if side == 'down' else 'output'}_blocks.{place}.{column}.{rest}"
    for ours, theirs in RESNET.items() if resnet else ():
        key = re.sub(rf"\.{ours}\.(weight|bias)$", rf".{theirs}.\1", key)
    return key


def vae_key(key: str, levels: int) -> str:
    """The original name of an autoencoder tensor with this many levels and no attention."""
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", key)
    key = re.sub(r"(up\.\d+)\.resnets\.(\d+)", r"\1.block.\2", key)
    key = key.replace("upsamplers.0", "upsample").replace("conv_norm_out", "norm_out")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    return key.replace("conv_shortcut", "nin_shortcut")


def original_layout(pipe: Any) -> dict[str, Tensor]:
    """The checkpoint of a StableDiffusionPipeline."""
    tensors = {
        f"model.diffusion_model.{unet_key(key, pipe.unet.config.layers_per_block)}": tensor
        for key, tensor in pipe.unet.state_dict().items()
    }
    levels = len(pipe.vae.config.block_out_channels)
    tensors |= {f"first_stage_model.{vae_key(k, levels)}": t for k, t in pipe.vae.state_dict().items()}
    for key, tensor in pipe.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = tensor
    return {key: tensor.contiguous() for key, tensor in tensors.items()}
