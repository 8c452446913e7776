"""The trained update of one layer, on tensors alone: by which factors it is told, and the change that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from booth.export.turns import boft_turned, turned

# The kinds of update, what people call them, and one of each kind's own factors.
KINDS = {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr", "glora": "GLoRA", "oft": "OFT", "boft": "BOFT", "ia3": "IA3",
         "vera": "VeRA", "diff": "plain difference", "whole": "whole weight"}  # fmt: skip
STARTS = {"hada": "loha", "lokr": "lokr", "a1": "glora", "a2": "glora", "b1": "glora", "b2": "glora", "oft": "oft",
          "rescale": "oft", "boft": "boft", "ia3": "ia3", "on": "ia3", "vera": "vera", "diff": "diff",
          "whole": "whole"}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """What is done to one layer's weight W (out, in, ...), and to its bias.

    LoRA (2106.09685): W + scale `up` (out, r, ...) `down` (r, in, ...). LoHa (2108.06098): W + scale (w1_a w1_b) *
    (w2_a w2_b). LoKr: W + scale w1 (x) w2. GLoRA (2306.07967): W + scale (W A + B), A and B of low rank.
    OFT (2306.07280): W with its rows turned by `oft_blocks` (n, side, side) as LyCORIS has it, or (m, n, side, side)
    for BOFT's m turns (2311.06243), or with its columns turned by `oft_r` (n, side (side - 1) / 2) as peft has it, or
    by `oft_turns` (n, side, side) themselves. BOFT of peft's: `boft_R` (m, n, side, side) turns the columns, and
    `boft_s` (out, 1) scales the rows. IA3 (2205.05638): W with its rows, or `on_input` its columns, times 1 + `ia3`,
    or times peft's `ia3_l`, (out, 1) or (1, in), which scales the bias with the rows. VeRA (2310.11454): W + diag(b) B
    diag(d) A, A and B cut to the weight's sides. `diff` is added as it is, and `whole` replaces W.
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
    def on_input(self) -> bool:
        """Whether IA3's factors are those of the columns."""
        if "ia3_l" in self.factors:
            return len(self.factors["ia3_l"]) == 1 and self.factors["ia3_l"].numel() > 1
        return "on_input" in self.factors and bool(self.factors["on_input"].any())

    @property
    def scales_bias(self) -> Tensor | None:
        """By what the layer's bias is multiplied, if it is."""
        return self.factors["ia3_l"].flatten() if "ia3_l" in self.factors and not self.on_input else None

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

    def vera_factors(self, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """VeRA's update of a weight (out, in) as the two factors of a LoRA at a scale of 1: d A and b B."""
        f = self.factors
        down = f["vera_lambda_d"].float()[:, None] * f["vera_A"][:, : shape[1]].float()
        return down, f["vera_lambda_b"].float()[:, None] * f["vera_B"][: shape[0]].float()

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
        if self.kind in {"glora", "oft", "boft", "ia3", "vera", "whole"}:
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
            sides = [1, -1] if self.on_input else [-1, 1]
            factor = f["ia3_l"] - 1 if "ia3_l" in f else f["ia3"]
            return weight * factor.reshape(*sides, *[1] * (weight.ndim - 2))
        if self.kind == "oft":
            return turned(weight, f, self.scale) - weight
        if self.kind == "boft":
            return boft_turned(weight, f["boft_R"], f["boft_s"]) - weight
        if self.kind == "vera":
            down, up = self.vera_factors((weight.shape[0], weight.shape[1]))
            return (up.double() @ down.double()).reshape(weight.shape)
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
