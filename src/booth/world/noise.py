"""Cheap random fields and fills that the scenes and the textures are drawn with."""

import numpy as np
from PIL import Image


def value_noise(rng: np.random.Generator, side: int, cells: int, cells_x: int | None = None) -> np.ndarray:
    """Return a smooth (side, side) field of about -1..1 with `cells` bumps down and `cells_x` bumps across."""
    grid = rng.uniform(-1, 1, (cells, cells_x or cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))


def fractal_noise(rng: np.random.Generator, side: int, cells: int, octaves: int = 3, stretch: int = 1) -> np.ndarray:
    """Sum octaves of value noise, each twice as fine and half as strong; returns (side, side), about -1..1.

    `stretch` makes the bumps so many times as wide as they are high.
    """
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        fine = cells * 2**octave
        total += value_noise(rng, side, fine * stretch, fine) * 0.5**octave
    return total / (2 - 2 * 0.5**octaves)


def thrice(weight: np.ndarray) -> np.ndarray:
    """Repeat a (h, w) map for the three channels: (h, w, 3), contiguous, which is quicker than broadcasting."""
    out = np.empty((*weight.shape, 3), np.float32)
    for channel in range(3):
        out[..., channel] = weight
    return out


def _painted(colour: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if colour.ndim != 1:
        return np.broadcast_to(colour, shape)
    out = np.empty(shape, np.float32)
    for channel in range(3):
        out[..., channel] = colour[channel]
    return out


def mix(first, second, weight: np.ndarray) -> np.ndarray:
    """Blend two colours or (h, w, 3) pictures by a (h, w) or (h, 1) weight in 0..1."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    whole = np.broadcast_shapes(np.shape(weight), first.shape[:2] if first.ndim == 3 else (1, 1),
                                second.shape[:2] if second.ndim == 3 else (1, 1))  # fmt: skip
    three = thrice(np.broadcast_to(np.asarray(weight, np.float32), whole))
    base = _painted(first, three.shape)
    out = _painted(second, three.shape) - base
    out *= three
    out += base
    return out


def jitter(rng: np.random.Generator, colour, amount: float = 12) -> np.ndarray:
    """Return the RGB colour moved a little in hue and brightness, float32 in 0..255."""
    moved = np.asarray(colour) + rng.normal(0, amount * 0.5, 3) + rng.normal(0, amount * 0.7)
    return np.clip(moved, 0, 255).astype(np.float32)
