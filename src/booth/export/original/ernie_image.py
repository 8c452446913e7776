"""ERNIE-Image, whose authors' names for the layers of its transformer are diffusers'."""

from __future__ import annotations

from collections.abc import Iterable


def is_ernie_image(names: Iterable[str]) -> bool:
    """Whether tensors are ERNIE-Image's."""
    return "layers.0.mlp.linear_fc2.weight" in set(names)
