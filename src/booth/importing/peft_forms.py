"""Adapters that multiply weights or share matrices as booth's methods of the same name: OFT, BOFT, IA3, VeRA.

Their files are peft's; LyCORIS' are held where its parametrisation is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from booth.core.family import Family
from booth.core.shared_matrices import shared_matrices
from booth.core.sites import LinearSite
from booth.export.layer import Layer
from booth.export.turns import side_of
from booth.importing.form import NotHeld, Place

Held = tuple[dict[str, Any], dict[str, Tensor]]  # settings of the method, and its tensors
FEED_FORWARD = "feed_forward"


def oft(model: Family, places: Sequence[Place]) -> Held:
    """Columns turned by exact rotations of one size; LyCORIS turns rows, and peft's series is no rotation."""
    blocks = {place.name: place.layer.factors.get("oft_r") for place in places}
    whole = {name: t.float() for name, t in blocks.items() if t is not None}
    if len(whole) < len(blocks):
        raise NotHeld("its OFT turns the rows, or turns by the first terms of a series, and booth's by exact rotations")
    sides = {side_of(t.shape[1]) for t in whole.values()}
    if len(sides) > 1:
        raise NotHeld("its blocks are of several sizes")
    (side,) = sides
    counts = {place.name: place.weight.shape[1] // side for place in places}
    tensors = {f"{name}.oft_R.weight": t.expand(counts[name], -1).contiguous() for name, t in whole.items()}
    return {"block_size": side}, tensors


def boft(model: Family, places: Sequence[Place]) -> Held:
    """Columns turned in as many butterflies everywhere, of blocks of one size."""
    turns = {place.name: place.layer.factors["boft_R"].float() for place in places}
    forms = {(len(t), t.shape[-1]) for t in turns.values()}
    if len(forms) > 1:
        raise NotHeld("its blocks are of several sizes")
    ((factors, side),) = forms
    scales = {f"{place.name}.boft_s": place.layer.factors["boft_s"].float() for place in places}
    return {"block_size": side, "factors": factors}, {f"{name}.boft_R": t for name, t in turns.items()} | scales


def ia3(model: Family, places: Sequence[Place]) -> Held:
    """Factors of the rows and the bias, and in feed-forward layers of the columns; LyCORIS' leave the bias alone."""
    tensors: dict[str, Tensor] = {}
    for place in places:
        component, _, module = place.name.partition(".")
        site = model.sites.linears[component]
        if place.layer.on_input != _is_fed(site, module):
            raise NotHeld("its IA3 scales rows where booth's scales columns, or columns where booth's scales rows")
        given = place.layer.factors.get("ia3_l")
        if given is None and not place.layer.on_input and place.biased:
            raise NotHeld("its IA3 scales the weights alone, and booth's the biases too")
        tensors[f"{place.name}.ia3_l"] = 1 + place.layer.factors["ia3"].float() if given is None else given.float()
    return {}, tensors


def _is_fed(site: LinearSite, module: str) -> bool:
    plain = {name.removeprefix("text_model.") for name in site.layers([FEED_FORWARD])}
    return FEED_FORWARD in site.groups and module.removeprefix("text_model.") in plain


def vera(model: Family, groups: Sequence[str], places: Sequence[Place]) -> Held | None:
    """VeRA, where the method draws the matrices that the file has; None where only a LoRA can hold them."""
    components = {place.name.partition(".")[0] for place in places}
    if len(components) > 1 or any(place.weight.ndim > 2 for place in places):
        return None
    site = model.sites.linears[components.pop()]
    weights: list[Any] = [site.module.get_submodule(name).weight for name in site.layers(list(groups))]
    sides = [tuple(weight.shape) for weight in weights if weight.ndim == 2]
    factors = places[0].layer.factors
    rank = len(factors["vera_A"])
    own = shared_matrices(rank, max(side[1] for side in sides), max(side[0] for side in sides))
    if not all(_same(factors[name], matrix) for name, matrix in zip(("vera_A", "vera_B"), own, strict=True)):
        return None
    vectors = ("vera_lambda_b", "vera_lambda_d")
    return {"rank": rank}, {f"{p.name}.{name}": p.layer.factors[name].float() for p in places for name in vectors}


def _same(given: Tensor, own: Tensor) -> bool:
    return given.shape == own.shape and torch.equal(given.float(), own.to(given.dtype).float())


def as_lora(place: Place) -> Place:
    """A VeRA layer as the LoRA that does the same."""
    down, up = place.layer.vera_factors((place.weight.shape[0], place.weight.shape[1]))
    return Place(place.name, Layer({"down": down, "up": up}), place.weight, place.biased)


MULTIPLIED: Mapping[str, Callable[[Family, Sequence[Place]], Held]] = {"oft": oft, "boft": boft, "ia3": ia3}
