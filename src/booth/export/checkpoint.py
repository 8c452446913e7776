"""A whole model in one file in the original layout, with what was trained merged in: any Stable Diffusion program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import read_tensors, shown
from booth.export.base_files import Shapes
from booth.export.exporter import Check, Exporter, Job
from booth.export.parts import Parts
from booth.export.readers import original

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
FAMILIES = ("stable_diffusion",)

UNET_TOP = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
            "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
UNET_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
               "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
                 "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"}  # fmt: skip
OPEN_CLIP_TOP = {"embeddings.token_embedding.weight": "token_embedding.weight",
                 "embeddings.position_embedding.weight": "positional_embedding",
                 "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}  # fmt: skip
OPEN_CLIP_LAYERS = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
                    "self_attn.out_proj": "attn.out_proj"}  # fmt: skip


class Checkpoint(Exporter):
    """UNet, autoencoder and text encoder under the names of CompVis/stable-diffusion."""

    name = "checkpoint"
    title = "a checkpoint in the original layout"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI", "diffusers (from_single_file)")
    accepts = frozenset({"layers", "weights"})
    architecture = ""

    def require(self, job: Job) -> None:
        super().require(job)
        if job.record.family not in FAMILIES:
            raise UsageError(f"The original layout is known for {', '.join(FAMILIES)}, not for {job.record.family}.")
        job.need_base("A whole checkpoint")

    def tensors(self, job: Job) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for component in ("unet", "vae", "text_encoder"):
            for name, tensor in to_original(component, job.changed(component)).items():
                found[name] = tensor.to(job.dtype)
        return found

    def check(self, job: Job, file: Path) -> Check:
        """Every weight of the model, as the original code would assign it."""
        reading = original.read(read_tensors(file)[0], job.shapes)
        check = Check(reader=original.RULES, unmatched=reading.unmatched, missing=reading.missing)
        for component, state in reading.states.items():
            expected = job.changed(component)
            for name, tensor in state.items():
                check.matched += 1
                check.compare(tensor, expected[name])
        return check

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return any(name.startswith(UNET) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        """The denoiser, and the text encoder where the file has one; what programs keep beside them is passed over."""
        reading = original.read(tensors, shapes)
        parts = Parts()
        for component, state in reading.states.items():
            if component == "vae" or (component == "text_encoder" and not state):
                continue
            lacking = [n for n, shape in shapes[component].items() if n not in state or state[n].shape != shape]
            if lacking:
                raise BadDataError(
                    f"This checkpoint is for another architecture than the base, or incomplete: {len(lacking)} weights "
                    f"of the {component} are missing or of another shape, such as {shown(lacking[0])}."
                )
            parts.weights[component] = lambda state=state: state
        return parts, [name for name in reading.unmatched if name.startswith(UNET)]


def to_original(component: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A component's state under its original names."""
    if component == "unet":
        per_level = 1 + max(int(m[1]) for m in map(re.compile(r"down_blocks\.0\.resnets\.(\d+)").match, state) if m)
        attending = {m[1] for m in map(re.compile(r"up_blocks\.(\d+)\.attentions\.").match, state) if m}
        return {UNET + _unet_name(name, per_level, attending): t for name, t in state.items()}
    if component == "vae":
        levels = 1 + max(int(m[1]) for m in map(re.compile(r"decoder\.up_blocks\.(\d+)").match, state) if m)
        return {VAE + _vae_name(name, levels): _as_convolution(name, t) for name, t in state.items()}
    if state["text_model.embeddings.token_embedding.weight"].shape[1] == 1024:
        return _open_clip(state)
    return {CLIP + name: t for name, t in state.items()}


def _unet_name(name: str, per_level: int, attending: set[str]) -> str:
    module, _, kind = name.rpartition(".")
    if module in UNET_TOP:
        return f"{UNET_TOP[module]}.{kind}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", module):
        place = f"middle_block.{1 if found[1] == 'attentions' else 2 * int(found[2])}"
        return f"{place}.{UNET_RESNET.get(found[3], found[3])}.{kind}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", module)
    if found is None:
        raise UsageError(f"The original layout has no place for {name}. Use --to diffusers.")
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
    return f"{block}.0.{UNET_RESNET[rest]}.{kind}"


def _vae_name(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    found = re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.+)\.(weight|bias)", name)
    if found:
        return f"{found[1]}mid.attn_1.{VAE_ATTENTION[found[2]]}.{found[3]}"
    name = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", name)
    name = name.replace("down_blocks.", "down.").replace("resnets.", "block.")
    return re.sub(r"(down|up)samplers\.0", r"\1sample", name)


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    """The autoencoder's attention is linear in diffusers and a 1x1 convolution in the original."""
    linear = ".attentions." in name and name.endswith("weight") and tensor.ndim == 2
    return tensor[:, :, None, None] if linear else tensor


def _open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stable Diffusion 2's text encoder, whose q, k and v are one tensor in the original."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        path = name.removeprefix("text_model.")
        if path in OPEN_CLIP_TOP:
            found[OPEN_CLIP + OPEN_CLIP_TOP[path]] = tensor
            continue
        number, layer = path.removeprefix("encoder.layers.").split(".", 1)
        module, _, kind = layer.rpartition(".")
        start = f"{OPEN_CLIP}transformer.resblocks.{number}."
        if module == "self_attn.q_proj":
            three = [state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            found[f"{start}attn.in_proj_{kind}"] = torch.cat(three)
        elif module in OPEN_CLIP_LAYERS:
            found[f"{start}{OPEN_CLIP_LAYERS[module]}.{kind}"] = tensor
    return found
