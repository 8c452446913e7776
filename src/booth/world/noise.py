"""Cheap random fields and fills that the scenes and the textures are drawn with."""

import numpy as np
from PIL import Image


def value_noise(rng: np.random.Generator, side: int, cells: int, cells_x: int | None = None) -> np.ndarray:
    """Return a smooth (side, side) field of about -1..1 with `cells` bumps down and `cells_x` bumps across."""
    grid = rng.uniform(-1, 1, (cells, cells_x or cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))


def fractal_noise(rng: np.random.Generator, side: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Sum octaves of value noise, each twice as fine and half as strong; returns (side, side), about -1..1."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        total += value_noise(rng, side, cells * 2**octave) * 0.5**octave
    return total / (2 - 2 * 0.5**octaves)


def mix(first, second, weight: np.ndarray) -> np.ndarray:
    """Blend two colours or (h, w, 3) pictures by a (h, w) or (h, 1) weight in 0..1."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * np.asarray(weight, np.float32)[..., None]


def jitter(rng: np.random.Generator, colour, amount: float = 12) -> np.ndarray:
    """Return the RGB colour moved a little in hue and brightness, float32 in 0..255."""
    moved = np.asarray(colour) + rng.normal(0, amount * 0.5, 3) + rng.normal(0, amount * 0.7)
    return np.clip(moved, 0, 255).astype(np.float32)
