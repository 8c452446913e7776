"""Layers of the original code that have the rows of several of diffusers': stacked for a file, and cut from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import shown
from booth.export.layer import KINDS, Layer
from booth.export.lora.names import Shapes
from booth.export.original.place import Place
from booth.export.original.places import places

OF_ROWS = {"lora": ("up",), "loha": ("hada_w1_a", "hada_w2_a"), "diff": ("diff",)}  # with a row for each of the weight


def stacked(layers: Mapping[str, Layer], shapes: Shapes) -> dict[str, Layer]:
    """All layers of a transformer by the authors' names; UsageError for a kind that cannot be stacked.

    Without the last layer's modulation, whose rows stand in another order there. A layer that has one name keeps it.
    """
    known = places("transformer", shapes["transformer"])
    renamed = {module for place in known.values() for module in place.modules}
    found = {module: layer for module, layer in layers.items() if module not in renamed}
    for name, place in known.items():
        held = [layers.get(module) for module in place.modules]
        if any(held) and not place.swapped:
            found[name] = _stack(held, [shapes["transformer"][f"{module}.weight"][0] for module in place.modules])
    return found


def _stack(layers: Sequence[Layer | None], rows: Sequence[int]) -> Layer:
    """One layer of all ranks together, each of which acts on its own rows alone; exact, where the scales are equal."""
    held = [layer for layer in layers if layer is not None]
    first = held[0]
    if len(layers) == 1:
        return first
    if any(layer.kind != "lora" or layer.magnitude is not None for layer in held):
        raise UsageError(
            "kohya's keys have one layer for queries, keys and values, as the base's authors have, and only plain LoRA "
            "can be written for it.",
            "Use `to=diffusers` for a DoRA, or, of FLUX.1, `to=checkpoint` to merge it.",
            code="export.no_place",
            field="to",
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


def cut(name: str, layer: Layer, place: Place, rows: Sequence[int], shape: Sequence[int]) -> list[Layer | None]:
    """A layer for each module of a place: none where it changes nothing, without ranks that act on others alone.

    A LoKr whose blocks lie across the modules is multiplied out, to the size of the base's weight. Raises BadDataError
    for a kind whose parts depend on each other.
    """
    if layer.kind in {"glora", "oft", "boft", "ia3", "vera"} or layer.by_columns:
        kind = "DoRA by columns" if layer.by_columns else KINDS[layer.kind]
        raise BadDataError(
            f"the {kind} layer {shown(name)} cannot be cut into {len(rows)} of {sum(rows)} rows together, as the base "
            "has them.",
            "Merge it into a checkpoint with the program that wrote it, and import that.",
            code="lora.cannot_be_cut",
            field="file",
        )
    if layer.kind == "lokr" and not (len(rows) > 1 and _along_blocks(layer, rows)):
        layer = Layer({"diff": (layer.scale * layer.product()).reshape(*shape).float()}, 1.0, layer.magnitude,
                      layer.bias)  # fmt: skip
    of_rows = ("lokr_w1",) if layer.kind == "lokr" else OF_ROWS[layer.kind]
    whole = _with_whole_first(layer) if layer.kind == "lokr" else layer

    def parts(tensor: Tensor, factor: str) -> list[Tensor]:
        if place.swapped:
            return [torch.cat(tensor.chunk(2)[::-1])]
        sizes = [count * len(tensor) // sum(rows) for count in rows] if factor == "lokr_w1" else rows
        return list(tensor.split(list(sizes)))

    factors = {factor: parts(whole.factors[factor], factor) for factor in of_rows if factor in whole.factors}
    lengths = None if layer.magnitude is None else parts(layer.magnitude, "")
    biases = None if layer.bias is None else parts(layer.bias, "")
    return [
        _without_idle_ranks(
            Layer(
                {**whole.factors, **{factor: split[i] for factor, split in factors.items()}},
                layer.scale,
                None if lengths is None else lengths[i],
                None if biases is None else biases[i],
            )
        )
        for i in range(len(rows))
    ]


def _along_blocks(layer: Layer, rows: Sequence[int]) -> bool:
    """Whether the modules begin and end where rows of LoKr's first block do."""
    f = layer.factors
    second = len(f["lokr_w2"]) if "lokr_w2" in f else len(f["lokr_w2_a"])
    return layer.magnitude is None and all(count % second == 0 for count in rows)


def _with_whole_first(layer: Layer) -> Layer:
    f = dict(layer.factors)
    if "lokr_w1" not in f:
        f["lokr_w1"] = f.pop("lokr_w1_a").float() @ f.pop("lokr_w1_b").float()
    return Layer(f, layer.scale, layer.magnitude, layer.bias)


def _without_idle_ranks(layer: Layer) -> Layer | None:
    if layer.kind != "lora":
        return layer
    up, down = layer.factors["up"], layer.factors["down"]
    acting = up.flatten(1).any(dim=0)
    if not acting.any():
        if layer.magnitude is None and layer.bias is None:
            return None
        acting[0] = True  # DoRA's lengths stand beside a LoRA
    return Layer({"down": down[acting], "up": up[:, acting]}, layer.scale, layer.magnitude, layer.bias)
