"""The base as files: the names and shapes of its weights from the headers alone, the weights when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from torch import Tensor

from booth.core.errors import BoothError
from booth.core.safe_file import read_header
from booth.export.component_files import canonical, component_tensors, weight_files
from booth.export.original import flux
from booth.families.loading import resolve_base

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")
Shapes = dict[str, dict[str, tuple[int, ...]]]  # component: tensor name: shape


class BaseFiles:
    """A diffusers folder of which no module is built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def shapes(self) -> Shapes:
        """The shape of every tensor, by component and canonical name."""
        found: Shapes = {}
        for component in COMPONENTS:
            for file in weight_files(self.folder / component):
                for name, entry in read_header(file).entries.items():
                    if not name.endswith("position_ids"):
                        found.setdefault(component, {})[canonical(component, name)] = entry.shape
        return found

    def tensors(self, component: str) -> dict[str, Tensor]:
        """The state of a component, as stored."""
        return component_tensors(self.folder / component)


def is_flux(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> bool:
    """Whether it is FLUX.1."""
    return flux.is_flux(shapes.get("transformer", {}))


def base_at_hand(name: str) -> BaseFiles | None:
    """The base that a concept names, if it is on this machine; nothing is downloaded."""
    try:
        return BaseFiles(resolve_base(name, download=False))
    except BoothError:
        return None
