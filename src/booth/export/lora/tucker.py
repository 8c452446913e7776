"""Tucker cores of convolutions, multiplied into one of the factors that they stand between."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from booth.core.errors import BadDataError


def without_core(factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A convolution's factors without their Tucker core (LyCORIS's use_tucker), which is multiplied into one of them.

    That is exact and keeps the rank: the core (r, r, kh, kw) stands between a factor of the output's channels and
    one (r, in) of the input's, which becomes (r, in, kh, kw) for LoRA and (r, in kh kw) for the others.
    Raises BadDataError where the shapes do not fit.
    """
    plain = dict(factors)
    if "mid" in plain and "down" in plain:
        plain["down"] = _with_core(plain.pop("mid"), plain["down"])
    for core, a, b in (("hada_t1", "hada_w1_a", "hada_w1_b"), ("hada_t2", "hada_w2_a", "hada_w2_b"),
                       ("lokr_t2", "lokr_w2_a", "lokr_w2_b")):  # fmt: skip
        if core in plain and a in plain and b in plain:
            plain[b] = _with_core(plain.pop(core), plain[b]).flatten(1)
            plain[a] = plain[a].T.contiguous()
    return plain


def _with_core(core: Tensor, inner: Tensor) -> Tensor:
    try:
        if 0 in (*core.shape, *inner.shape):  # no bytes in the file, and any size once they are multiplied
            raise RuntimeError("a side of 0")
        return torch.einsum("ijkl,jc->ickl", core.double(), inner.flatten(1).double()).float()
    except RuntimeError as error:
        raise BadDataError(
            "A core of this file does not fit the factors beside it.",
            "Get the file anew.",
            code="lora.factors_unfit",
            field="file",
        ) from error
