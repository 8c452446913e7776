"""The backgrounds by name."""

import numpy as np

from booth.world import countryside, landscapes, surfaces, town, waters, woods  # noqa: F401  (importing them registers their painters)
from booth.world.painting import PAINTERS, Painted

__all__ = ["paint"]


def paint(name: str, rng: np.random.Generator) -> Painted:
    """Paint a scene; raises KeyError for an unknown name."""
    painted = PAINTERS[name](rng)
    painted.picture = np.clip(painted.picture, 0, 255).astype(np.float32)
    return painted
