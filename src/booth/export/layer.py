"""The trained update of one layer, on tensors alone: by which factors it is told, and the change that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# The kinds of update, what people call them, and one of each kind's own factors.
KINDS = {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr", "glora": "GLoRA", "oft": "OFT", "ia3": "IA3",
         "diff": "plain difference", "whole": "whole weight"}  # fmt: skip
STARTS = {"hada": "loha", "lokr": "lokr", "a1": "glora", "a2": "glora", "b1": "glora", "b2": "glora", "oft": "oft",
          "rescale": "oft", "ia3": "ia3", "on": "ia3", "diff": "diff", "whole": "whole"}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """What is done to one layer's weight W (out, in, ...), and to its bias.

    LoRA (2106.09685): W + scale `up` (out, r, ...) `down` (r, in, ...). LoHa (2108.06098): W + scale (w1_a w1_b) *
    (w2_a w2_b). LoKr: W + scale w1 (x) w2. GLoRA (2306.07967): W + scale (W A + B), A and B of low rank.
    OFT (2306.07280): W with its rows turned by `oft_blocks` (n, side, side) as LyCORIS has it, or (m, n, side, side)
    for BOFT's m turns (2311.06243), or with its columns turned by `oft_r` (n, side (side - 1) / 2) as peft has it. IA3
    (2205.05638): W with its rows, or `on_input` its columns, times 1 + `ia3`. `diff` is added as it is, and `whole`
    replaces W.
    DoRA (2402.09353) then gives each row of the sum the length in `magnitude` (out,), or each column where that is
    (1, in, ...).
    """

    factors: Mapping[str, Tensor]
    scale: float = 1.0  # alpha / rank; of OFT's blocks the greatest norm that they are let have, 0 = any
    magnitude: Tensor | None = None
    bias: Tensor | None = None  # what is added to the bias

    @property
    def kind(self) -> str:
        """One of KINDS; that of a layer that changes its bias alone is a difference."""
        if not self.factors:
            return "diff"
        first = next(iter(self.factors))
        return STARTS.get(first.split("_")[0], "lora")

    @property
    def by_columns(self) -> bool:
        """Whether DoRA's lengths are those of the columns."""
        return self.magnitude is not None and self.magnitude.ndim > 1

    @property
    def rank(self) -> int | None:
        """The inner size of the factors; none where there is no such, as in LoKr of two whole blocks."""
        inner = {"lora": ("down",), "loha": ("hada_w1_b",), "lokr": ("lokr_w2_b", "lokr_w1_b")}.get(self.kind, ())
        found = (self.factors[name] for name in inner if name in self.factors)
        return next((factor.shape[0] for factor in found if factor.ndim), None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the product: the weight's, or (out, the rest) where the factors do not tell a kernel's sides.

        Raises RuntimeError where the factors do not fit each other.
        """
        return tuple(Layer({name: t.to("meta") for name, t in self.factors.items()}).product().shape)

    def product(self) -> Tensor:
        """The update without scale and magnitude in float64, by the formulas of the papers."""
        f = {name: tensor.double() for name, tensor in self.factors.items()}
        if self.kind == "lora":
            product = f["up"].flatten(1) @ f["down"].flatten(1)
            return product.reshape(len(product), *f["down"].shape[1:])
        if self.kind == "loha":
            return (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"])
        if self.kind == "diff":
            return f["diff"]
        first = f["lokr_w1"] if "lokr_w1" in f else f["lokr_w1_a"] @ f["lokr_w1_b"]
        second = f["lokr_w2"] if "lokr_w2" in f else f["lokr_w2_a"] @ f["lokr_w2_b"]
        while first.ndim < second.ndim:
            first = first.unsqueeze(-1)
        return torch.kron(first, second)

    def change(self, weight: Tensor) -> Tensor:
        """The weight's change in float64; `weight` is the base's."""
        if self.kind == "diff" and not self.factors:
            return torch.zeros(weight.shape, dtype=torch.float64)
        if self.kind in {"glora", "oft", "ia3", "whole"}:
            change = self._of_weight(weight.double())
        else:
            change = self.scale * self.product().reshape(weight.shape)
        if self.magnitude is None:
            return change
        merged = weight.double() + change
        if self.by_columns:
            lengths = merged.transpose(0, 1).flatten(1).norm(dim=1)
            sides = [1, -1] + [1] * (weight.ndim - 2)
        else:
            lengths = merged.flatten(1).norm(dim=1)
            sides = [-1] + [1] * (weight.ndim - 1)
        return merged * (self.magnitude.double().flatten() / lengths).view(sides) - weight.double()

    def _of_weight(self, weight: Tensor) -> Tensor:
        """The change of those kinds that depends on the weight itself."""
        f = {name: tensor.double() for name, tensor in self.factors.items()}
        if self.kind == "whole":
            return f["whole"].reshape(weight.shape) - weight
        if self.kind == "ia3":
            sides = [1, -1] if bool(f["on_input"].any()) else [-1, 1]
            return weight * f["ia3"].reshape(*sides, *[1] * (weight.ndim - 2))
        if self.kind == "oft":
            return _turned(weight, f, self.scale) - weight
        a1, a2, b1, b2 = (f[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        if _is_old_glora(self.factors, tuple(weight.shape)):
            flat = weight.flatten(1)
            return self.scale * (b2 @ b1 + (flat @ a2) @ a1).reshape(weight.shape)
        mixed = torch.einsum("oi...,ij->oj...", weight, a1)
        mixed = torch.einsum("oj...,ji->oi...", mixed, a2)
        return self.scale * (mixed + (b1 @ b2).reshape(weight.shape))


def _is_old_glora(factors: Mapping[str, Tensor], shape: tuple[int, ...]) -> bool:
    """Whether the factors stand as LyCORIS wrote them at first, with the roles of 1 and 2 changed.

    The sides tell, as they do in ComfyUI; where they fit both ways the old one is meant if the weight is square.
    """
    a1, a2, b1, b2 = (factors[name].flatten(1).shape for name in ("a1", "a2", "b1", "b2"))
    old = b2[1] == b1[0] == a1[0] == a2[1]
    new = b2[0] == b1[1] == a1[1] == a2[0]
    return old and (not new or (a2[0] == shape[0] and shape[0] == shape[1]))


def _turned(weight: Tensor, f: Mapping[str, Tensor], bound: float) -> Tensor:
    """The weight turned by OFT's blocks: (I + Q)(I - Q)^-1 with a skew-symmetric Q."""
    if "oft_r" in f:
        return _turned_as_peft_does(weight, f["oft_r"])
    blocks = f["oft_blocks"]
    q = blocks - blocks.transpose(-1, -2)
    norm = float(q.norm())
    if bound > 0 and norm > bound:
        q = q * (bound / norm)
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    turns = (eye + q) @ torch.linalg.inv(eye - q)
    if blocks.ndim == 4:
        turned = _turned_in_butterflies(weight, turns)
    else:
        turned = torch.einsum("knm,kn...->km...", turns, weight.view(*blocks.shape[:2], *weight.shape[1:]))
        turned = turned.reshape(weight.shape)
    return turned * f["rescale"].view(-1, *[1] * (weight.ndim - 1)) if "rescale" in f else turned


def _turned_in_butterflies(weight: Tensor, turns: Tensor) -> Tensor:
    """Each of BOFT's turns (n, side, side) acts on blocks of rows that lie twice as far apart as the last one's."""
    side, turned = turns.shape[-1], weight
    for i, turn in enumerate(turns):
        apart = 2**i * (side // 2)
        mixed = turned.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, side))
        mixed = torch.einsum("bij,bj...->bi...", turn, mixed)
        turned = mixed.flatten(0, 1).unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return turned


def _turned_as_peft_does(weight: Tensor, upper: Tensor) -> Tensor:
    """W R^T with R of blocks (I - Q)(I + Q)^-1, of whose Q `upper` holds the entries above the diagonal."""
    count = upper.shape[0]
    side = weight.shape[1] // count
    q = upper.new_zeros(count, side, side)
    rows, columns = torch.triu_indices(side, side, 1)
    q[:, rows, columns] = upper
    q = q - q.transpose(1, 2)
    eye = torch.eye(side, dtype=q.dtype)
    turns = torch.linalg.solve(eye + q, eye - q, left=False)  # (I - Q)(I + Q)^-1
    return torch.einsum("nkc,kic->nki", weight.view(len(weight), count, side), turns).reshape(weight.shape)
