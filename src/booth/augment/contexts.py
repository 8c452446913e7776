"""What a picture shows besides its class: named while a class is learned, and varied while it is drawn.

What a caption names need not go into the token (BOB, 2510.24078, names background and pose so). Where the set says
nothing of its pictures, light and background are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from booth.augment.labelled_set import Picture
from booth.core.rng import derived_seed

# Eleven basic colours (Berlin & Kay, 1969) as people name them, in sRGB.
COLOURS = {
    "black": (20, 20, 20), "white": (240, 240, 240), "grey": (128, 128, 128), "red": (200, 30, 40),
    "orange": (235, 130, 30), "brown": (115, 70, 40), "yellow": (240, 215, 60), "green": (60, 140, 60),
    "blue": (50, 90, 190), "purple": (125, 60, 150), "pink": (235, 165, 175),
}  # fmt: skip
BORDER = 0.12  # of a picture's sides: where the background is
DARK, BRIGHT = 80, 175  # of 255, mean brightness


def context_of(picture: Picture) -> str:
    """What stands behind the class in a caption: the set's own words, or what was measured."""
    return picture.context or measured(picture.image())


def measured(image: Image.Image) -> str:
    """ "on a brown background, in dim light"."""
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    edge = max(1, round(32 * BORDER))
    border = np.concatenate([small[:edge].reshape(-1, 3), small[-edge:].reshape(-1, 3), small[:, :edge].reshape(-1, 3)])
    middle = np.median(border, axis=0)
    name = min(COLOURS, key=lambda c: float(np.square(middle - np.array(COLOURS[c])).sum()))
    mean = float(small.mean())
    light = ", in dim light" if mean < DARK else ", in bright light" if mean > BRIGHT else ""
    return f"on a {name} background{light}"


def caption(token: str, noun: str, context: str) -> str:
    """The prompt of a picture."""
    return " ".join(f"a photo of {token} {noun} {context}".split())


def varied(contexts: Sequence[str], *parts: int | str) -> str:
    """One of the contexts, the same for the same parts of a seed."""
    return contexts[derived_seed("context", *parts) % len(contexts)]


def contexts_of(pictures: Iterable[Picture]) -> list[str]:
    """The contexts that occur, each once: those of every class, so that no class keeps its own background."""
    return sorted({context_of(picture) for picture in pictures})
