"""The names in a checkpoint of the original Stable Diffusion code, found by building the model as that code does.

`UNetModel` and `AutoencoderKL` number their blocks while they append them, so this walks through the constructors of
CompVis/latent-diffusion (and, for XL, of Stability-AI/generative-models) and notes, for each module appended, what
diffusers calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

RULES = "the original code's reading of checkpoints"
# By whose presence ComfyUI knows that a Stable Diffusion XL predicts velocity, and is noised until no picture is left.
MARKERS = ("v_pred", "ztsnr")
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
# Stable Diffusion XL's conditioner is a list of embedders: CLIP, OpenCLIP, and three of sizes without weights.
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = ({"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"},
                 {"group_norm": "norm", "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"})  # fmt: skip
OPEN_CLIP_BLOCK = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
                   "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
Names = dict[str, str]  # diffusers' module path: the original one
# From diffusers' (module, "weight") to the original key, and what to make of that tensor.
Find = Callable[[str, str], tuple[str, Callable[[Tensor], Tensor]]]


@dataclass
class Reading:
    """The states by component and diffusers' names, what was looked for in vain, and what nobody reads."""

    states: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])
    missing: list[str] = field(default_factory=list[str])
    unmatched: list[str] = field(default_factory=list[str])


def read(tensors: Mapping[str, Tensor], shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> Reading:
    """Read a checkpoint's tensors for an architecture, given by the shapes of its weights under diffusers' names."""
    reading, used = Reading(), set[str]()
    for component, find in _components(shapes).items():
        used |= take(reading, component, tensors, shapes[component], find)
    if "text_encoder_2" in shapes:
        used |= tensors.keys() & set(MARKERS)
    reading.unmatched = sorted(tensors.keys() - used)
    return reading


def take(
    reading: Reading, component: str, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], find: Find
) -> set[str]:
    """Fill in a component's state, or what it lacks; the keys that were read."""
    state, used = reading.states.setdefault(component, {}), set[str]()
    for name, shape in shapes.items():
        module, _, kind = name.rpartition(".")
        original, made = find(module, kind)
        if original not in tensors:
            reading.missing.append(original)
            continue
        used.add(original)
        try:
            tensor = made(tensors[original])
        except (IndexError, RuntimeError):  # a foreign file with other sides, which whoever compares shapes will name
            tensor = tensors[original]
        state[name] = tensor.reshape(shape) if tensor.numel() == math.prod(shape) else tensor
    return used


def by_names(names: Names, prefix: str) -> Find:
    """How weights are found whose modules have these names, or diffusers' own, behind a prefix."""

    def find(module: str, kind: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        best = max((n for n in names if module == n or module.startswith(n + ".")), key=len, default=None)
        tail = "" if best is None else module[len(best) :]
        return f"{prefix}{module if best is None else names[best]}{tail}.{kind}", _as_it_is

    return find


def _components(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, Find]:
    found: dict[str, Find] = {}
    if "unet" in shapes:
        found["unet"] = by_names(unet_names(shapes["unet"]), UNET)
    if "vae" in shapes:
        found["vae"] = by_names(vae_names(shapes["vae"]), VAE)
    if "text_encoder_2" in shapes:
        found |= {"text_encoder": by_names({}, XL_CLIP), "text_encoder_2": _open_clip(XL_OPEN_CLIP)}
    elif "text_encoder" in shapes:
        wide = shapes["text_encoder"]["text_model.embeddings.token_embedding.weight"][1] == 1024
        found["text_encoder"] = _open_clip(OPEN_CLIP) if wide else by_names({}, CLIP)
    return found


def unet_names(shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """UNetModel.__init__ of openaimodel.py, block by block."""
    levels = _count(shapes, "down_blocks")
    per_level = _count(shapes, "down_blocks.0.resnets")
    names = encoder_names(shapes)
    names |= {"conv_norm_out": "out.0", "conv_out": "out.2"}
    block = 0
    for level in range(levels):
        attends = _has(shapes, f"up_blocks.{level}.attentions")
        for i in range(per_level + 1):
            layers = 1
            _resnet(names, f"up_blocks.{level}.resnets.{i}", f"output_blocks.{block}.0")
            if attends:
                names[f"up_blocks.{level}.attentions.{i}"] = f"output_blocks.{block}.{layers}"
                layers += 1
            if level != levels - 1 and i == per_level:
                names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{block}.{layers}.conv"
            block += 1
    return names


def encoder_names(shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """Its first half: embeddings, input blocks and the middle."""
    levels = _count(shapes, "down_blocks")
    per_level = _count(shapes, "down_blocks.0.resnets")
    names: Names = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
                    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
                    "conv_in": "input_blocks.0.0"}  # fmt: skip
    block = 1
    for level in range(levels):
        attends = _has(shapes, f"down_blocks.{level}.attentions")
        for i in range(per_level):
            _resnet(names, f"down_blocks.{level}.resnets.{i}", f"input_blocks.{block}.0")
            if attends:
                names[f"down_blocks.{level}.attentions.{i}"] = f"input_blocks.{block}.1"
            block += 1
        if level != levels - 1:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{block}.0.op"
            block += 1
    _resnet(names, "mid_block.resnets.0", "middle_block.0")
    names["mid_block.attentions.0"] = "middle_block.1"
    _resnet(names, "mid_block.resnets.1", "middle_block.2")
    return names


def vae_names(shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """Encoder and Decoder of diffusionmodules/model.py; the decoder's levels are numbered from the picture inwards."""
    names: Names = {}
    levels = _count(shapes, "encoder.down_blocks")
    for half, blocks in (("encoder", "down"), ("decoder", "up")):
        names |= {f"{half}.conv_norm_out": f"{half}.norm_out"}
        for i in range(2):
            _resnet(names, f"{half}.mid_block.resnets.{i}", f"{half}.mid.block_{i + 1}", VAE_RESNET)
        for spelling in VAE_ATTENTION:
            for ours, theirs in spelling.items():
                names[f"{half}.mid_block.attentions.0.{ours}"] = f"{half}.mid.attn_1.{theirs}"
        for level in range(levels):
            theirs = level if blocks == "down" else levels - 1 - level
            for i in range(_count(shapes, f"{half}.{blocks}_blocks.{level}.resnets")):
                ours = f"{half}.{blocks}_blocks.{level}.resnets.{i}"
                _resnet(names, ours, f"{half}.{blocks}.{theirs}.block.{i}", VAE_RESNET)
            sampler = f"{half}.{blocks}_blocks.{level}.{blocks}samplers.0.conv"
            names[sampler] = f"{half}.{blocks}.{theirs}.{blocks}sample.conv"
    return names


def _open_clip(prefix: str) -> Find:
    """OpenCLIP's text model: torch's MultiheadAttention keeps q, k and v in one tensor, and x @ text_projection."""

    def find(module: str, kind: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        path = module.removeprefix("text_model.")
        if path == "text_projection":
            return f"{prefix}text_projection", torch.t  # rows and columns the other way round
        if path == "embeddings.token_embedding":
            return f"{prefix}token_embedding.weight", _as_it_is
        if path == "embeddings.position_embedding":
            return f"{prefix}positional_embedding", _as_it_is
        if path == "final_layer_norm":
            return f"{prefix}ln_final.{kind}", _as_it_is
        _, _, number, layer = path.split(".", 3)
        start = f"{prefix}transformer.resblocks.{number}."
        if layer in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            third = "qkv".index(layer.split(".")[1][0])
            return f"{start}attn.in_proj_{kind}", lambda whole: whole.chunk(3)[third]
        return f"{start}{OPEN_CLIP_BLOCK[layer]}.{kind}", _as_it_is

    return find


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _resnet(names: Names, ours: str, theirs: str, table: Names = RESNET) -> None:
    for mine, original in table.items():
        names[f"{ours}.{mine}"] = f"{theirs}.{original}"


def _count(shapes: Mapping[str, tuple[int, ...]], start: str) -> int:
    place = start.count(".") + 1
    return len({name.split(".")[place] for name in shapes if name.startswith(start + ".")})


def _has(shapes: Mapping[str, tuple[int, ...]], start: str) -> bool:
    return any(name.startswith(start + ".") for name in shapes)
