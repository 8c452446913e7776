"""The kinds of update that multiply a weight: rotations of its rows or columns, and factors for them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def turned(weight: Tensor, f: Mapping[str, Tensor], bound: float) -> Tensor:
    """The weight turned by OFT's blocks; `bound` is the greatest norm that LyCORIS lets its own have, 0 for any.

    LyCORIS turns rows, by (I + Q)(I - Q)^-1 with a skew-symmetric Q or, at first, by the very blocks in its file. peft
    turns columns.
    """
    if "oft_r" in f:
        return _columns_turned(weight, exact_turns(f["oft_r"]))
    if "oft_turns" in f:
        return _columns_turned(weight, f["oft_turns"])
    if "oft_diag" in f:
        return _rows_turned(weight, _as_turns(f["oft_diag"]))
    blocks = f["oft_blocks"]
    q = blocks - blocks.transpose(-1, -2)
    norm = float(q.norm())
    if bound > 0 and norm > bound:
        q = q * (bound / norm)
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    turns = (eye + q) @ torch.linalg.inv(eye - q)
    found = _turned_in_butterflies(weight, turns) if blocks.ndim == 4 else _rows_turned(weight, turns.transpose(1, 2))
    return found * f["rescale"].view(-1, *[1] * (weight.ndim - 1)) if "rescale" in f else found


def _as_turns(blocks: Tensor) -> Tensor:
    """LyCORIS' first blocks, transposed: those of October 2023 are what is added to I, those of November the whole."""
    whole = blocks if float(blocks.diagonal(dim1=1, dim2=2).mean()) > 0.5 else blocks + torch.eye(blocks.shape[-1])
    return whole.transpose(1, 2)


def _rows_turned(weight: Tensor, turns: Tensor) -> Tensor:
    """Each block of rows as sums of its rows, as the rows of the turn say."""
    blocks = weight.reshape(len(turns), turns.shape[-1], *weight.shape[1:])
    return torch.einsum("kmn,kn...->km...", turns, blocks).reshape(weight.shape)


def _columns_turned(weight: Tensor, turns: Tensor) -> Tensor:
    """W R^T with R of these blocks; one block is that of all columns."""
    flat = weight.flatten(1).unflatten(1, (-1, turns.shape[-1]))  # (out, n, side)
    return torch.einsum("onc,nic->oni", flat, turns.expand(flat.shape[1], -1, -1)).reshape(weight.shape)


def _turned_in_butterflies(weight: Tensor, turns: Tensor) -> Tensor:
    """Each of BOFT's turns (n, side, side) acts on blocks of rows that lie twice as far apart as the last one's."""
    side, found = turns.shape[-1], weight
    for i, turn in enumerate(turns):
        apart = 2**i * (side // 2)
        mixed = found.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, side))
        mixed = torch.einsum("bij,bj...->bi...", turn, mixed)
        found = mixed.flatten(0, 1).unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return found


def _skew(upper: Tensor) -> Tensor:
    """Skew-symmetric blocks (n, side, side) with these entries (n, side (side - 1) / 2) above the diagonal."""
    side = side_of(upper.shape[-1])
    q = upper.new_zeros(len(upper), side, side)
    rows, columns = torch.triu_indices(side, side, 1)
    q[:, rows, columns] = upper
    return q - q.transpose(1, 2)


def side_of(entries: int) -> int:
    """The side of a skew-symmetric block of so many entries; 0 where there is none."""
    side = (1 + math.isqrt(1 + 8 * entries)) // 2
    return side if side * (side - 1) // 2 == entries else 0


def exact_turns(upper: Tensor) -> Tensor:
    """(I - Q)(I + Q)^-1, as peft has it where it does not take the series."""
    q = _skew(upper)
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    return torch.linalg.solve(eye + q, eye - q, left=False)


def series_turns(upper: Tensor, terms: int) -> Tensor:
    """I + 2 Q + 2 Q^2 + ... + Q^(terms - 1), which peft takes for a rotation unless it is told otherwise.

    Its three terms are four.
    """
    q, terms = _skew(upper), 4 if terms == 3 else terms
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    total, power = eye.expand_as(q), q
    for k in range(1, terms):
        total = total + (1 if k == terms - 1 and k > 1 else 2) * power
        power = power @ q
    return total


def boft_turned(weight: Tensor, blocks: Tensor, scale: Tensor) -> Tensor:
    """diag(s) W R of peft's BOFT: factors (m, n, side, side) of (I - Q)(I + Q)^-1, between shuffles of the columns."""
    q = (blocks - blocks.transpose(-1, -2)) / 2
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    turns = torch.linalg.solve(eye + q, eye - q, left=False)
    flat, width = weight.flatten(1), weight[0].numel()
    for i, turn in enumerate(turns):
        order = _shuffled(width, turn.shape[-1], i, len(turns))
        mixed = flat[:, order.argsort()].unflatten(1, turn.shape[:2])
        flat = torch.einsum("obd,bcd->obc", mixed, turn).flatten(1)[:, order]
    return (scale.flatten()[:, None] * flat).reshape(weight.shape)


def _shuffled(width: int, side: int, factor: int, factors: int) -> Tensor:
    """Where each column comes from before one factor: halves of blocks that lie 2^factor apart are put together."""
    if factors == 1:
        return torch.arange(width)
    units = torch.arange(width).view(-1, 2**factor, 2, side // 2)  # spans of that many blocks, in halves, in order
    halves = units.reshape(len(units), -1, side // 2)
    return torch.cat([halves[:, 0::2], halves[:, 1::2]], dim=1).flatten()
