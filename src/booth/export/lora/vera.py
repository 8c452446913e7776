"""VeRA's two matrices, which all layers of a file share: in it, or drawn anew from the key that is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.shared_matrices import KEY, shared_matrices

SHARED = re.compile(r"(?:.*\.)?(vera_[AB])(?:\.[^.]+)?")
MOST = 1 << 16  # no layer is wider and no rank higher


def apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of layers, and the shared matrices by their own names."""
    found = {key: match[1] for key in tensors if (match := SHARED.fullmatch(key))}
    return {k: t for k, t in tensors.items() if k not in found}, {found[key]: tensors[key] for key in found}


def share(
    layers: Mapping[Any, dict[str, Tensor]],
    shared: Mapping[str, Tensor],
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]],
    settings: Mapping[str, object],
) -> None:
    """Put the matrices beside the vectors of each layer.

    Without them in the file they are drawn as peft draws them: as wide as the widest of the layers, by the key of the
    configuration. BadDataError for vectors of several ranks, which no pair of matrices serves.
    """
    held = {target: tensors for target, tensors in layers.items() if "vera_lambda_d" in tensors}
    if not held:
        return
    ranks = {tensors["vera_lambda_d"].numel() for tensors in held.values()}
    if len(ranks) > 1 or max(ranks) > MOST:
        raise BadDataError(
            "The VeRA layers of this file have several ranks, which share no matrices.",
            "Get the file anew.",
            code="lora.factors_unfit",
            field="file",
        )
    if shared.keys() < {"vera_A", "vera_B"}:
        sides = [shapes[t.component][f"{m}.weight"] for t in held for m in t.place.modules]
        taken, given = max(s[1] for s in sides if len(s) > 1), max(s[0] for s in sides)
        key = settings.get("projection_prng_key")
        down, up = shared_matrices(ranks.pop(), taken, given, key if isinstance(key, int) else KEY)
        shared = {"vera_A": down, "vera_B": up}
    for tensors in held.values():
        tensors |= shared
