"""The names in a checkpoint of the original Stable Diffusion code, found by building the model as that code does.

`UNetModel` and `AutoencoderKL` number their blocks while they append them, so this walks through the constructors of
CompVis/latent-diffusion and notes, for each module appended, what diffusers calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

RULES = "the original code's reading of checkpoints"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = ({"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"},
                 {"group_norm": "norm", "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"})  # fmt: skip
OPEN_CLIP_BLOCK = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
                   "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
Names = dict[str, str]  # diffusers' module path: the original one


@dataclass
class Reading:
    """The states by component and diffusers' names, what was looked for in vain, and what nobody reads."""

    states: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])
    missing: list[str] = field(default_factory=list[str])
    unmatched: list[str] = field(default_factory=list[str])


def read(tensors: Mapping[str, Tensor], shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> Reading:
    """Read a checkpoint's tensors for an architecture, given by the shapes of its weights under diffusers' names."""
    reading, used = Reading(), set[str]()
    for component, modules in _modules(shapes).items():
        state = reading.states.setdefault(component, {})
        for name, shape in shapes[component].items():
            module, _, kind = name.rpartition(".")
            original, part = modules(module, kind)
            if original not in tensors:
                reading.missing.append(original)
                continue
            used.add(original)
            tensor = tensors[original] if part is None else tensors[original].chunk(3)[part]
            state[name] = tensor.reshape(shape) if tensor.numel() == _size(shape) else tensor
    reading.unmatched = sorted(tensors.keys() - used)
    return reading


def _modules(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]):
    """For each component a function from diffusers' (module, "weight") to (original key, third of it)."""

    def plain(names: Names, prefix: str):
        def find(module: str, kind: str) -> tuple[str, None]:
            best = max((n for n in names if module == n or module.startswith(n + ".")), key=len, default=None)
            tail = "" if best is None else module[len(best) :]
            return f"{prefix}{module if best is None else names[best]}{tail}.{kind}", None

        return find

    found = {}
    if "unet" in shapes:
        found["unet"] = plain(unet_names(shapes["unet"]), UNET)
    if "vae" in shapes:
        found["vae"] = plain(vae_names(shapes["vae"]), VAE)
    if "text_encoder" in shapes:
        wide = shapes["text_encoder"]["text_model.embeddings.token_embedding.weight"][1] == 1024
        found["text_encoder"] = _open_clip if wide else plain({}, CLIP)
    return found


def unet_names(shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """UNetModel.__init__ of openaimodel.py, block by block."""
    levels = _count(shapes, "down_blocks")
    per_level = _count(shapes, "down_blocks.0.resnets")
    names: Names = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
                    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
                    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
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


def _open_clip(module: str, kind: str) -> tuple[str, int | None]:
    """The text encoder of Stable Diffusion 2: torch's MultiheadAttention keeps q, k and v in one tensor."""
    path = module.removeprefix("text_model.")
    if path == "embeddings.token_embedding":
        return f"{OPEN_CLIP}token_embedding.weight", None
    if path == "embeddings.position_embedding":
        return f"{OPEN_CLIP}positional_embedding", None
    if path == "final_layer_norm":
        return f"{OPEN_CLIP}ln_final.{kind}", None
    _, _, number, layer = path.split(".", 3)
    start = f"{OPEN_CLIP}transformer.resblocks.{number}."
    if layer in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
        return f"{start}attn.in_proj_{kind}", "qkv".index(layer.split(".")[1][0])
    return f"{start}{OPEN_CLIP_BLOCK[layer]}.{kind}", None


def _resnet(names: Names, ours: str, theirs: str, table: Names = RESNET) -> None:
    for mine, original in table.items():
        names[f"{ours}.{mine}"] = f"{theirs}.{original}"


def _count(shapes: Mapping[str, tuple[int, ...]], start: str) -> int:
    place = start.count(".") + 1
    return len({name.split(".")[place] for name in shapes if name.startswith(start + ".")})


def _has(shapes: Mapping[str, tuple[int, ...]], start: str) -> bool:
    return any(name.startswith(start + ".") for name in shapes)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
