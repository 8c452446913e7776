"""A control: how a picture becomes the control image that a ControlNet follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from PIL.Image import Image


class Control(ABC):
    """Makes control images: from pictures to train on, and from a picture whose layout a drawing is to follow."""

    name: ClassVar[str]
    title: ClassVar[str]
    shows: ClassVar[str]  # what a control image looks like

    @abstractmethod
    def __call__(self, picture: Image) -> Image:
        """The hint of an RGB picture, RGB and of the same size; NotAvailableError if something is missing here."""
