"""What counts as a difference of what was trained from what a program computes."""

from __future__ import annotations

import math

import torch

from booth.export.check import TOLERANCES, difference, lost_by_lengths


def decomposed(weight: torch.Tensor, change: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """DoRA's change (2402.09353, equation 5) in the type of its arguments."""
    merged = weight + change
    return merged * (lengths / merged.norm(dim=1))[:, None] - weight


def test_a_difference_is_relative_and_nothing_hides_it() -> None:
    expected = torch.tensor([1.0, -4.0])
    assert math.isclose(difference(expected + torch.tensor([0.0, 0.02]), expected), 0.005, rel_tol=1e-4)
    assert difference(torch.full((2,), math.nan), expected, lost=9.0) == math.inf
    assert difference(torch.zeros(3), expected, lost=9.0) == math.inf


def test_rounding_of_doras_lengths_is_no_difference_and_a_wrong_change_is() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    for size in (1e-6, 1e-3, 1e-1):
        change = size * torch.randn(24, 16, generator=generator, dtype=torch.float64)
        lengths = weight.norm(dim=1) * (1 + size * torch.randn(24, generator=generator, dtype=torch.float64))
        for dtype, tolerance in ((torch.float32, TOLERANCES["fp32"]), (torch.float16, TOLERANCES["fp16"])):
            stored, told = lengths.to(dtype), change.to(torch.float32)
            lost = lost_by_lengths(weight, stored)
            got = decomposed(weight.float(), told, stored.float())
            assert difference(got, decomposed(weight, change, lengths), lost) <= tolerance
            forgotten = decomposed(weight.float(), 0 * told, stored.float())  # the low-rank part is not read
            if size > 10 * torch.finfo(dtype).eps:
                assert difference(forgotten, decomposed(weight, change, lengths), lost) > 0.1
