"""Foreign LoKr layers with the factor and the ranks under which peft builds the same blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from booth.core.json_values import Json
from booth.export.layer import Layer
from booth.importing.form import NotHeld, pattern_of

Sizes = tuple[int, ...]


def lokr_settings(layers: Mapping[str, tuple[Layer, Sizes]]) -> tuple[dict[str, Json], dict[str, Tensor]]:
    """LoKr's settings and tensors for layers by COMPONENT.MODULE with the shapes of their weights.

    The first block is kept whole, as booth's method has it, with the scale in it. The second one is kept in two
    factors where peft would do so at the common rank, and else whole. Raises NotHeld where no factor splits the
    sides of all weights as the file does.
    """
    firsts = {name: _first(layer) for name, (layer, _) in layers.items()}
    shapes = {name: shape for name, (_, shape) in layers.items()}
    factored = [layer.factors["lokr_w2_b"].shape[0] for layer, _ in layers.values() if "lokr_w2_b" in layer.factors]
    whole_from = {name: _whole_from(firsts[name], shape) for name, shape in shapes.items()}
    rank = max(factored, default=max(whole_from.values()))
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name, (layer, _) in layers.items():
        tensors[f"{name}.lokr_w1"] = firsts[name] * layer.scale
        if rank >= whole_from[name]:
            tensors[f"{name}.lokr_w2"] = _second(layer)
        elif "lokr_w2" in layer.factors:  # a rank at which peft, too, keeps the block whole
            tensors[f"{name}.lokr_w2"] = _second(layer)
            ranks[pattern_of(name)] = whole_from[name]
        else:
            a, b = layer.factors["lokr_w2_a"].float(), layer.factors["lokr_w2_b"].float()
            missing = rank - len(b)
            tensors |= {f"{name}.lokr_w2_a": F.pad(a, (0, missing)), f"{name}.lokr_w2_b": F.pad(b, (0, 0, 0, missing))}
    # Without an alpha the scale is 1 at every rank.
    return {"rank": rank, "alpha": None, "ranks": ranks, "factor": _factor(firsts, shapes)}, tensors


def first_side(width: int, factor: int) -> int:
    """The smaller part into which LyCORIS and peft split a width: `factor` itself, or the next smaller that divides."""
    if factor > 0 and width % factor == 0:
        return factor
    most = math.isqrt(width) if factor < 0 else min(factor, math.isqrt(width))
    return max(side for side in range(1, most + 1) if width % side == 0)


def _factor(firsts: Mapping[str, Tensor], shapes: Mapping[str, Sizes]) -> int:
    """What booth's method is told, so that it splits every weight's sides into these first blocks and what is left."""
    sides = {(shape[axis], firsts[name].shape[axis]) for name, shape in shapes.items() for axis in (0, 1)}
    # No first block is larger than the factor, and from the root of the widest side on nothing but that side's own
    # divisors make a difference.
    least = max(first for _, first in sides)
    for factor in (-1, *range(least, 2 + max(least, math.isqrt(max(width for width, _ in sides))))):
        if all(first_side(width, factor) == first for width, first in sides):
            return factor
    raise NotHeld(
        "it splits its layers as no factor of booth's LoKr does (LyCORIS's unbalanced_factorization, or several "
        "factors in one file)"
    )


def _first(layer: Layer) -> Tensor:
    f = layer.factors
    return f["lokr_w1"].float() if "lokr_w1" in f else (f["lokr_w1_a"].double() @ f["lokr_w1_b"].double()).float()


def _second(layer: Layer) -> Tensor:
    f = layer.factors
    return f["lokr_w2"].float() if "lokr_w2" in f else (f["lokr_w2_a"].double() @ f["lokr_w2_b"].double()).float()


def _whole_from(first: Tensor, shape: Sizes) -> int:
    """The rank from which on peft keeps the second block whole: half of its longer side."""
    return math.ceil(max(shape[0] // first.shape[0], shape[1] // first.shape[1]) / 2)
