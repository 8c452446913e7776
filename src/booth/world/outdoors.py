"""What outdoor scenes share: the sun, far ranges, and grass that stands up."""

import numpy as np

from booth.world import plants
from booth.world.noise import mix
from booth.world.painting import COLUMNS, ROWS, SIDE, Rng, join, scatter, stamped


def sun_side(rng: Rng) -> float:
    """The sun stands on either side."""
    return float(rng.choice((-1, 1)) * rng.uniform(0.45, 0.95))


def distant(picture: np.ndarray, colour, skyline: np.ndarray) -> np.ndarray:
    """A far range of one colour that pales downwards."""
    body = mix(
        colour,
        np.asarray(colour) * 0.4 + np.array((214, 224, 236)) * 0.6,
        np.clip((ROWS - skyline.min()) / 0.3, 0, 0.8) + 0 * COLUMNS,
    )
    return join(picture, body, skyline)


def tufts(rng: Rng, picture: np.ndarray, n: int, top: float, bottom: float = 1.12, high: float = 16, flowers: int = 0):
    """Grass that stands up, larger the nearer, with flowers among it."""
    pieces = []
    for x, y in scatter(rng, n, top, bottom):
        near = (y / SIDE - top) / max(bottom - top, 0.1)
        pieces.append((plants.tuft(int(rng.integers(5))), x, y, high * (0.35 + 0.65 * near), bool(rng.integers(2))))
    for x, y in scatter(rng, flowers, top + 0.05, 1.05):
        near = (y / SIDE - top) / max(1 - top, 0.1)
        pieces.append((plants.flower(int(rng.integers(5))), x, y, 4 + 8 * near, False))
    return stamped(picture, sorted(pieces, key=lambda p: p[2]))
