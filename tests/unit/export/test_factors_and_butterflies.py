"""IA3 and BOFT as LyCORIS writes them, against loops over rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from booth.core.errors import BadDataError
from booth.export.layer import Layer
from booth.export.lora.read import read_layers

KEY = "lora_transformer_blocks_0_proj"
MODULE = "blocks.0.proj"


def read(tensors: dict[str, Tensor], weight: Tensor) -> Layer:
    shapes = {"transformer": {f"{MODULE}.weight": tuple(weight.shape)}}
    reading = read_layers({f"{KEY}.{name}": t for name, t in tensors.items()}, {}, shapes)
    assert not reading.unknown
    return reading.layers["transformer"][MODULE]


def weight_of(*sides: int) -> Tensor:
    return torch.randn(*sides, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sides", [(6, 4), (6, 4, 3, 3)])
@pytest.mark.parametrize("on_input", [False, True])
def test_ia3_scales_rows_or_columns(sides: tuple[int, ...], on_input: bool) -> None:
    weight, count = weight_of(*sides), sides[int(on_input)]
    factors = torch.linspace(-0.5, 1.5, count)
    shaped = factors if len(sides) == 2 else factors.view(1, count, 1, 1)
    layer = read({"weight": shaped, "on_input": torch.tensor(int(on_input))}, weight)
    merged = weight.double() + layer.change(weight)
    for row in range(sides[0]):
        for column in range(sides[1]):
            factor = 1 + float(factors[column if on_input else row])
            assert torch.allclose(merged[row, column], factor * weight[row, column].double())


def test_ia3_of_another_width_is_refused() -> None:
    with pytest.raises(BadDataError, match="scale 5 rows and not 6"):
        read({"weight": torch.zeros(5), "on_input": torch.tensor(0)}, weight_of(6, 4))


def turned_row_by_row(weight: Tensor, blocks: Tensor, bound: float) -> Tensor:
    """Rows paired by hand: in turn i a block's places alternate between two runs of rows, 2^i half blocks long."""
    turns, count, side, _ = blocks.shape
    q = blocks.double() - blocks.double().transpose(-1, -2)
    norm = math.sqrt(float((q**2).sum()))
    q = q * bound / norm if 0 < bound < norm else q
    eye = torch.eye(side, dtype=torch.float64)
    rows = weight.double().clone()
    for i in range(turns):
        apart = 2**i * (side // 2)
        order = [
            start + half * apart + place
            for start in range(0, len(rows), 2 * apart)
            for place in range(apart)
            for half in (0, 1)
        ]
        new = rows.clone()
        for b in range(count):
            own = order[b * side : (b + 1) * side]
            turn = torch.linalg.solve(eye - q[i, b], eye + q[i, b])
            for place, row in enumerate(own):
                new[row] = sum(turn[place, k] * rows[other] for k, other in enumerate(own))
        rows = new
    return rows


@pytest.mark.parametrize("sides", [(16, 3), (16, 3, 2, 2)])
@pytest.mark.parametrize("alpha", [0.0, 0.02])
def test_boft_turns_rows_that_lie_ever_further_apart(sides: tuple[int, ...], alpha: float) -> None:
    weight = weight_of(*sides)
    blocks = 0.3 * torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    rescale = torch.linspace(0.5, 2, 16).view(16, *[1] * (len(sides) - 1))
    layer = read({"oft_blocks": blocks, "rescale": rescale, "alpha": torch.tensor(alpha)}, weight)
    wanted = turned_row_by_row(weight, blocks, alpha * 16) * rescale
    assert torch.allclose(weight.double() + layer.change(weight), wanted, atol=1e-6)
    length = (weight.double() + layer.change(weight)).div(rescale).norm()
    assert math.isclose(float(length), float(weight.double().norm()), rel_tol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 3, 3), (40, 4, 4, 4), (3, 2, 4, 4), (4, 4, 4, 4), (3, 4, 4, 2)])
def test_boft_of_other_blocks_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadDataError, match=r"turn \d+ rows|do not fit each other"):
        read({"oft_blocks": torch.zeros(shape)}, weight_of(16, 3))
