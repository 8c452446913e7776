"""The backgrounds by name: a colour picture and a coarse nearness map for each scene of the vocabulary."""

import numpy as np

from booth.world import landscapes, surfaces  # noqa: F401  (importing them registers their painters)
from booth.world.painting import PAINTERS, SIDE

__all__ = ["SIDE", "paint"]


def paint(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint a scene; raises KeyError for an unknown name.

    Returns (SIDE, SIDE, 3) float32 colours in 0..255 and (SIDE, SIDE) float32 nearness, 0 (far) .. 1 (near).
    """
    picture, nearness = PAINTERS[name](rng)
    return np.clip(picture, 0, 255).astype(np.float32), nearness
