"""Foreign adapter layers in the form of booth's adapters: one kind, a common rank and scale, whole groups of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from booth.core.family import Family
from booth.export.layer import KINDS, Layer
from booth.importing.form import MAGNITUDE, Form, NotHeld, Place, pattern_of
from booth.importing.lokr_form import lokr_settings
from booth.importing.peft_forms import MULTIPLIED, as_lora, vera

Layers = Mapping[str, Mapping[str, Layer]]
MOST_PADDING = 4  # times what the file holds: beyond that layers keep the ranks of their own


def common_form(model: Family, layers: Layers, lossy: bool, *, apart: bool = True) -> Form:
    """The method that holds such layers with settings and tensors, such as COMPONENT.MODULE.lora_A.weight.

    Smaller ranks are filled up with zeros, a scale that differs from the common one goes into a factor, and layers
    that the file leaves out are left to be zero; none of that changes a picture. With `apart`, convolutions have a
    rank of their own, as LoCon has it. Raises NotHeld for what no adapter of booth's is; with `lossy` layers of no
    group are left out.
    """
    groups, left_out = _groups(model, layers)
    if not groups or (left_out and not lossy):
        raise NotHeld(f"{len(left_out)} layers are of a kind that booth's adapters do not take, such as {left_out[0]}")
    places = [
        Place(f"{component}.{module}", layer, base.weight.detach(), base.bias is not None)
        for component, modules in layers.items()
        for module, layer in modules.items()
        if f"{component}.{module}" not in left_out
        for base in [_live(model, component, module)]
    ]
    kind = _only_kind([place.layer for place in places])
    held = vera(model, groups, places) if kind == "vera" else None
    if kind == "vera" and held is None:
        kind, places = "lora", [as_lora(place) for place in places]
    if held is not None:
        method, settings, tensors = kind, *held
    elif kind in MULTIPLIED:
        method, settings, tensors = kind, *MULTIPLIED[kind](model, places)
    elif kind == "lora":
        method, settings, tensors = _low_rank(places, apart and "convolution" in groups)
    elif kind == "loha":
        method, settings, tensors = "loha", *_loha(places)
    else:
        method, settings, tensors = "lokr", *lokr_settings({p.name: (p.layer, p.weight.shape) for p in places})
    settings |= {
        "targets": tuple(groups),
        "train_text_encoder": any(place.name.partition(".")[0] in model.sites.text_encoders for place in places),
    }
    left = [f"{len(left_out)} layers of kinds that booth's adapters do not take, such as {n}" for n in left_out[:1]]
    return Form(method, settings, tensors, left_out=left)


def _groups(model: Family, layers: Layers) -> tuple[list[str], list[str]]:
    """The groups of layers that the file touches, and its layers that are in none."""
    groups: list[str] = []
    left_out: list[str] = []
    for component, modules in layers.items():
        site = model.sites.linears.get(component)
        for module in modules:
            found = [
                group
                for group, suffixes in (site.groups.items() if site is not None else ())
                if f".{module}".endswith(tuple(f".{suffix}" for suffix in suffixes))
            ]
            if not found:
                left_out.append(f"{component}.{module}")
            elif found[0] not in groups:
                groups.append(found[0])
    return groups, left_out


def _only_kind(layers: list[Layer]) -> str:
    kinds = sorted({layer.kind for layer in layers})
    if len(kinds) > 1:
        raise NotHeld(f"it mixes {' and '.join(KINDS[k] for k in kinds)}")
    if kinds[0] not in {"lora", "loha", "lokr", "vera", *MULTIPLIED}:
        raise NotHeld(f"it is of the kind {KINDS[kinds[0]]}")
    if any(layer.bias is not None for layer in layers):
        raise NotHeld("it changes biases too")
    if any(layer.by_columns for layer in layers):
        raise NotHeld("its DoRA gives lengths to columns, and booth's to rows")
    if kinds != ["lora"] and any(layer.magnitude is not None for layer in layers):
        raise NotHeld(f"it is a {KINDS[kinds[0]]} with DoRA's lengths")
    return kinds[0]


def _live(model: Family, component: str, module: str) -> Any:
    """The base's layer; versions of transformers differ in a wrapper around CLIP."""
    live: Any = dict(model.sites.linears[component].module.named_modules())
    return live.get(module) or live[module.removeprefix("text_model.")]


def _low_rank(places: list[Place], apart: bool) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """LoRA, with convolutions apart LoCon; DoRA where a layer has lengths, which the others are given too."""
    decomposed = any(place.layer.magnitude is not None for place in places)
    apart = apart and not decomposed
    inner = {place.name: len(place.layer.factors["down"]) for place in places}
    own = {place.name for place in places if apart and place.weight.ndim > 2}
    if _grows(places, inner, own):
        return _of_own_ranks(places, inner, decomposed)
    conv_rank = max((inner[name] for name in own), default=1)
    rank = max((r for name, r in inner.items() if name not in own), default=conv_rank)
    alpha = rank * _shared_scale(places)
    tensors: dict[str, Tensor] = {}
    for place in places:
        r = conv_rank if place.name in own else rank
        down, up = _as_wide_as(place)
        down = torch.cat([down, down.new_zeros(r - len(down), *down.shape[1:])])
        up = torch.cat([up, up.new_zeros(len(up), r - up.shape[1], *up.shape[2:])], dim=1)
        tensors[f"{place.name}.lora_A.weight"] = down
        tensors[f"{place.name}.lora_B.weight"] = up * (place.layer.scale / (alpha / r))
        if decomposed:
            tensors[f"{place.name}.{MAGNITUDE}"] = _lengths(place)
    settings: dict[str, Any] = {"rank": rank, "alpha": float(alpha)} | ({"conv_rank": conv_rank} if apart else {})
    return "dora" if decomposed else "locon" if apart else "lora", settings, tensors


def _grows(places: list[Place], inner: Mapping[str, int], own: set[str]) -> bool:
    """Whether filling all layers up to a common rank would take far more than the file has."""
    wide = {place.name: place.weight.shape[0] + place.weight[0].numel() for place in places}
    most = {kind: max((inner[n] for n in wide if (n in own) == kind), default=0) for kind in (True, False)}
    filled = sum(most[name in own] * width for name, width in wide.items())
    return filled > MOST_PADDING * sum(inner[name] * width for name, width in wide.items())


def _of_own_ranks(
    places: list[Place], inner: Mapping[str, int], decomposed: bool
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Every layer with the rank that it has, and a scale of 1."""
    tensors: dict[str, Tensor] = {}
    for place in places:
        down, up = _as_wide_as(place)
        tensors[f"{place.name}.lora_A.weight"], tensors[f"{place.name}.lora_B.weight"] = down, up * place.layer.scale
        if decomposed:
            tensors[f"{place.name}.{MAGNITUDE}"] = _lengths(place)
    common = min(inner.values())
    patterns = {pattern_of(name): rank for name, rank in inner.items() if rank != common}
    return "dora" if decomposed else "lora", {"rank": common, "alpha": None, "ranks": patterns}, tensors


def _as_wide_as(place: Place) -> tuple[Tensor, Tensor]:
    """Both factors with as many sides as the weight: files have two for a 1x1 kernel, or four for a linear layer."""
    down, up = (place.layer.factors[name].float() for name in ("down", "up"))
    ones = [1] * (place.weight.ndim - 2)
    return down.reshape(len(down), *place.weight.shape[1:]), up.reshape(*up.shape[:2], *ones)


def _lengths(place: Place) -> Tensor:
    """DoRA's, or those of the merged rows, with which DoRA is LoRA."""
    if place.layer.magnitude is not None:
        return place.layer.magnitude.float()
    return (place.weight.double() + place.layer.change(place.weight)).flatten(1).norm(dim=1).float()


def _loha(places: list[Place]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    ranks = {place.name: place.layer.rank or 1 for place in places}
    grows = _grows(places, ranks, set())
    rank, shared = (min if grows else max)(ranks.values()), 1.0 if grows else _shared_scale(places)
    tensors: dict[str, Tensor] = {}
    for place in places:
        missing = 0 if grows else rank - ranks[place.name]
        for name, factor in place.layer.factors.items():
            pad = (0, missing) if name.endswith("_a") else (0, 0, 0, missing)
            tensors[f"{place.name}.{name}"] = F.pad(factor.float(), pad)
        tensors[f"{place.name}.hada_w1_a"] *= place.layer.scale / shared
    patterns = {pattern_of(name): r for name, r in ranks.items() if r != rank} if grows else {}
    settings = {"rank": rank, "alpha": None if grows else float(rank * shared)}
    return settings | ({"ranks": patterns} if patterns else {}), tensors


def _shared_scale(places: list[Place]) -> float:
    """The scale of all layers; 1 where they differ, or where it is none that can be set."""
    scales = {place.layer.scale for place in places}
    return scales.pop() if len(scales) == 1 and min(scales) > 0 else 1.0
