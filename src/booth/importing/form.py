"""What a method is made with, so that it draws what a foreign file holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from booth.export.layer import Layer

MAGNITUDE = "lora_magnitude_vector"


class NotHeld(Exception):
    """Why no adapter of booth's holds the layers of a file as they are."""


@dataclass(frozen=True)
class Form:
    """What a method is made with, and its tensors under canonical names."""

    method: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    on_base: bool = False  # whether tensors that are not among these keep the base's values, and are not zero
    notes: list[str] = field(default_factory=list[str])  # what the user should know
    left_out: list[str] = field(default_factory=list[str])  # what of the file is not held


@dataclass(frozen=True)
class Place:
    """A layer that the file adapts, and the base's weight there."""

    name: str  # COMPONENT.MODULE
    layer: Layer
    weight: Tensor
    biased: bool = False  # whether the base's layer has a bias


def pattern_of(name: str) -> str:
    """Finds the layer COMPONENT.MODULE by its name inside its component, whatever wrapper is around CLIP."""
    module = name.partition(".")[2].removeprefix("text_model.")
    return rf"(^|\.){re.escape(module)}$"
