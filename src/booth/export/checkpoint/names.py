"""Whole models under the names of their authors: Stable Diffusion 1.x, 2.x and XL, and FLUX.1's transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from booth.core.errors import UsageError
from booth.export.original.flux import place_of
from booth.export.original.unet import unet_keys

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
                 "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"}  # fmt: skip
OPEN_CLIP_TOP = {"embeddings.token_embedding.weight": "token_embedding.weight",
                 "embeddings.position_embedding.weight": "positional_embedding",
                 "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}  # fmt: skip
OPEN_CLIP_LAYERS = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
                    "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
OPEN_CLIP_WIDTH = 1024  # of Stable Diffusion 2's text encoder; that of 1.x is CLIP's own and 768 wide


def unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A U-Net's state; UsageError for a weight that the original code has no place for."""
    keys = unet_keys(state)
    lacking = next((name for name in state if name not in keys), None)
    if lacking is not None:
        raise UsageError(
            f"The original layout has no place for {lacking}.",
            "Use `to=diffusers`.",
            code="export.no_place",
            field="to",
        )
    return {UNET + keys[name]: tensor for name, tensor in state.items()}


def vae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's state."""
    levels = 1 + max(int(m[1]) for m in map(re.compile(r"decoder\.up_blocks\.(\d+)").match, state) if m)
    return {VAE + _vae_key(name, levels): _as_convolution(name, t) for name, t in state.items()}


def _vae_key(name: str, levels: int) -> str:
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


def text_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder of Stable Diffusion 1.x or 2.x."""
    wide = state["text_model.embeddings.token_embedding.weight"].shape[1] == OPEN_CLIP_WIDTH
    return _open_clip(state, OPEN_CLIP) if wide else {CLIP + name: t for name, t in state.items()}


def xl_text_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first text encoder of Stable Diffusion XL, which keeps CLIP's own names."""
    return {XL_CLIP + name: tensor for name, tensor in state.items()}


def xl_text_encoder_2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The second one, OpenCLIP's with its projection."""
    return _open_clip(state, XL_OPEN_CLIP)


def _open_clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """OpenCLIP's q, k and v are one tensor, and its projection is multiplied from the right."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        path = name.removeprefix("text_model.")
        if path == "text_projection.weight":
            found[f"{prefix}text_projection"] = tensor.T
            continue
        if path in OPEN_CLIP_TOP:
            found[prefix + OPEN_CLIP_TOP[path]] = tensor
            continue
        number, layer = path.removeprefix("encoder.layers.").split(".", 1)
        module, _, kind = layer.rpartition(".")
        start = f"{prefix}transformer.resblocks.{number}."
        if module == "self_attn.q_proj":
            three = [state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            found[f"{start}attn.in_proj_{kind}"] = torch.cat(three)
        elif module in OPEN_CLIP_LAYERS:
            found[f"{start}{OPEN_CLIP_LAYERS[module]}.{kind}"] = tensor
    return found


def flux_transformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's state; UsageError for a weight that the original code has no place for."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        place = place_of(module)
        if place is None:
            raise UsageError(
                f"FLUX.1's original layout has no place for {name}.",
                "Use `to=diffusers`.",
                code="export.no_place",
                field="to",
            )
        there, ours = place
        if module != ours[0]:
            continue
        # There the last layer's modulation is shift and scale, here scale and shift.
        parts = tensor.chunk(2)[::-1] if module == "norm_out.linear" else [state[f"{our}.{kind}"] for our in ours]
        found[f"{there}.{'scale' if there.endswith('_norm') else kind}"] = torch.cat([*parts])
    return found
