"""Foreign adapter layers in the form of booth's LoRA: one rank, one scale, whole groups of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.export.parts import Layer

KINDS = {"loha": "LoHa", "lokr": "LoKr"}
Layers = Mapping[str, Mapping[str, Layer]]


def common_form(model: Family, layers: Layers, lossy: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """LoRA's settings, and its tensors as COMPONENT.MODULE.lora_A.weight under canonical names.

    Smaller ranks are filled up with zeros, and layers that the file leaves out are left to be zero; neither changes a
    picture. Raises BadDataError for another kind of adapter, or for layers of no group unless `lossy`.
    """
    every = [layer for modules in layers.values() for layer in modules.values()]
    other = next((layer for layer in every if layer.kind != "lora" or layer.magnitude is not None), None)
    if other is not None:
        raise BadDataError(
            f"This file is a {KINDS.get(other.kind, 'DoRA')}, which booth cannot import; plain LoRA it can."
        )
    groups, left_out = _groups(model, layers)
    if left_out and not lossy:
        raise BadDataError(
            f"{len(left_out)} layers of this file are of a kind that booth's LoRA does not adapt, such as "
            f"{left_out[0]}. Add --lossy to leave them out."
        )
    rank = max(layer.rank or 1 for layer in every)
    scales = {layer.scale for layer in every}
    shared = scales.pop() if len(scales) == 1 else None
    tensors: dict[str, Tensor] = {}
    for component, modules in layers.items():
        for module, layer in modules.items():
            if f"{component}.{module}" not in left_out:
                down, up = _filled(layer, rank, layer.scale if shared is None else 1.0)
                tensors |= {f"{component}.{module}.lora_A.weight": down, f"{component}.{module}.lora_B.weight": up}
    return {
        "rank": rank,
        "alpha": float(rank if shared is None else shared * rank),
        "targets": tuple(groups),
        "train_text_encoder": any(component in model.sites.text_encoders for component in layers),
    }, tensors


def _groups(model: Family, layers: Layers) -> tuple[list[str], list[str]]:
    """The groups of layers that the file touches, and its layers that are in none."""
    groups: list[str] = []
    left_out: list[str] = []
    for component, modules in layers.items():
        for module in modules:
            found = [
                group
                for group, suffixes in model.sites.linears[component].groups.items()
                if f".{module}".endswith(tuple(f".{suffix}" for suffix in suffixes))
            ]
            if not found:
                left_out.append(f"{component}.{module}")
            elif found[0] not in groups:
                groups.append(found[0])
    if not groups:
        raise BadDataError(f"No layer of this file is of a kind that booth's LoRA adapts, such as {left_out[0]}.")
    return groups, left_out


def _filled(layer: Layer, rank: int, fold: float) -> tuple[Tensor, Tensor]:
    """The factors at a higher rank, the scale folded into `up` where layers differ in it."""
    down, up = layer.factors["down"].float(), layer.factors["up"].float()
    missing = rank - len(down)
    down = torch.cat([down, down.new_zeros(missing, *down.shape[1:])])
    up = torch.cat([fold * up, up.new_zeros(len(up), missing, *up.shape[2:])], dim=1)
    return down, up
