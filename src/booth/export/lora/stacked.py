"""Adapters on FLUX.1 under kohya's keys, by which one layer has the rows of several here: queries, keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from booth.core.errors import BadDataError, UsageError
from booth.export.base_files import Shapes, is_flux
from booth.export.checkpoint.flux_names import place_of
from booth.export.parts import Layer

OF_ROWS = {"lora": ("up",), "loha": ("hada_w1_a", "hada_w2_a")}  # the factors with a row for each of the weight's


def stacks(shapes: Shapes) -> dict[str, tuple[str, ...]]:
    """The modules of FLUX.1's transformer by its authors' name of the layer that has their rows, in their order.

    Without the last layer's modulation, whose rows stand in another order there.
    """
    names = shapes["transformer"] if is_flux(shapes) else ()
    found = (place_of(name.removesuffix(".weight")) for name in names if name.endswith(".weight"))
    return {place[0]: place[1] for place in found if place and place[1] != ("norm_out.linear",)}


def stacked(layers: Mapping[str, Layer], shapes: Shapes) -> dict[str, Layer]:
    """All layers by the authors' names; UsageError for a kind that cannot be stacked."""
    found: dict[str, Layer] = {}
    for name, modules in stacks(shapes).items():
        held = [layers.get(module) for module in modules]
        if any(held):
            found[name] = _stack(held, _rows(modules, shapes))
    return found


def unstacked(layers: Mapping[str, Layer], shapes: Shapes) -> dict[str, Layer]:
    """The layers by diffusers' names, without those that change nothing; BadDataError for what cannot be cut.

    Those that have diffusers' names already stay as they are.
    """
    known = stacks(shapes)
    found = {name: layer for name, layer in layers.items() if name not in known}
    for name, modules in known.items():
        if name in layers:
            cut = _unstack(name, layers[name], _rows(modules, shapes))
            found |= {module: layer for module, layer in zip(modules, cut, strict=True) if layer is not None}
    return found


def _rows(modules: Sequence[str], shapes: Shapes) -> list[int]:
    """How many rows each module's weight has."""
    return [shapes["transformer"][f"{module}.weight"][0] for module in modules]


def _stack(layers: Sequence[Layer | None], rows: Sequence[int]) -> Layer:
    """One layer of all ranks together, each of which acts on its own rows alone; exact, where the scales are equal."""
    held = [layer for layer in layers if layer is not None]
    first = held[0]
    if len(layers) == 1:
        return first
    if any(layer.kind != "lora" or layer.magnitude is not None for layer in held):
        raise UsageError(
            "kohya's keys have one layer for FLUX.1's queries, keys and values, and only plain LoRA can be written for "
            "it. Use --to diffusers, or --to checkpoint to merge it."
        )
    wide = sum(layer.factors["up"].shape[1] for layer in held)
    up, row, column = first.factors["up"].new_zeros(sum(rows), wide), 0, 0
    for layer, count in zip(layers, rows, strict=True):
        if layer is not None:
            own = layer.factors["up"] * (layer.scale / first.scale)
            up[row : row + count, column : column + own.shape[1]] = own
            column += own.shape[1]
        row += count
    return Layer({"down": torch.cat([layer.factors["down"] for layer in held]), "up": up}, first.scale)


def _unstack(name: str, layer: Layer, rows: list[int]) -> list[Layer | None]:
    """A layer for each of the modules: none where it changes nothing, and without ranks that act on others alone."""
    if len(rows) == 1:
        return [layer]
    of_rows = OF_ROWS.get(layer.kind)
    if of_rows is None or any(len(layer.factors[factor]) != sum(rows) for factor in of_rows):
        raise BadDataError(
            f"The {layer.kind} layer {name} cannot be cut into {len(rows)} of {sum(rows)} rows together, as the base "
            "has them. Name the file's own base with --base, or merge it into a checkpoint and import that."
        )
    lengths = [None] * len(rows) if layer.magnitude is None else layer.magnitude.split(rows)
    cut = [{factor: layer.factors[factor].split(rows)[i] for factor in of_rows} for i in range(len(rows))]
    whole = [Layer({**layer.factors, **own}, layer.scale, length) for own, length in zip(cut, lengths, strict=True)]
    return [_without_idle_ranks(part) if part.kind == "lora" else part for part in whole]


def _without_idle_ranks(layer: Layer) -> Layer | None:
    up, down = layer.factors["up"], layer.factors["down"]
    acting = up.flatten(1).any(dim=0)
    if not acting.any():
        if layer.magnitude is None:
            return None
        acting[0] = True  # DoRA's lengths stand beside a LoRA
    return Layer({"down": down[acting], "up": up[:, acting]}, layer.scale, layer.magnitude)
