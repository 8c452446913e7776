"""Pictures of nothing, which widen what an autoencoder can keep."""

import numpy as np
from PIL import Image, ImageDraw

from booth.world.noise import fractal_noise, mix, value_noise
from booth.world.warp import SIDE

Rng = np.random.Generator


def _colours(rng: Rng, n: int) -> np.ndarray:
    return rng.uniform(0, 255, (n, 3)).astype(np.float32)


def _smooth(rng: Rng) -> np.ndarray:
    """Colour noise of a random roughness, up to 1/f."""
    cells, octaves = int(rng.integers(2, 8)), int(rng.integers(1, 5))
    channels = [fractal_noise(rng, SIDE, cells, octaves) for _ in range(3)]
    shared = fractal_noise(rng, SIDE, cells, octaves)
    noise = np.stack(channels, axis=-1) * rng.uniform(20, 100) + shared[..., None] * rng.uniform(20, 110)
    return _colours(rng, 1)[0] * 0.5 + 64 + noise


def _ramp(rng: Rng) -> np.ndarray:
    """A straight or wavy gradient between two colours."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * xs + np.sin(turn) * ys + rng.uniform(0, 0.2) * value_noise(rng, SIDE, 3)
    weight = 0.5 + along if rng.random() < 0.5 else 0.5 + 0.5 * np.sin(along * rng.uniform(6, 60))
    first, second = _colours(rng, 2)
    return mix(first, second, np.clip(weight, 0, 1))


def _shapes(rng: Rng) -> np.ndarray:
    """Dead leaves: discs and polygons of all sizes, each hiding what lies behind."""
    background = Image.fromarray(np.clip(_ramp(rng), 0, 255).astype(np.uint8)).resize((2 * SIDE, 2 * SIDE))
    draw = ImageDraw.Draw(background)
    for _ in range(int(rng.integers(4, 60))):
        x, y = rng.uniform(0, 2 * SIDE, 2)
        r = min(4 / rng.random(), 60)
        fill = tuple(int(c) for c in _colours(rng, 1)[0])
        if rng.random() < 0.5:
            draw.ellipse((x - r, y - r, x + r, y + r * rng.uniform(0.4, 1)), fill=fill)
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            draw.polygon([(x + r * np.cos(t), y + r * np.sin(t)) for t in turns], fill=fill)
    return np.asarray(background.reduce(2), np.float32)


def textures(n: int, rng: Rng, size: int = SIDE) -> np.ndarray:
    """Draw n pictures of nothing, (n, size, size, 3) uint8."""
    pictures = np.empty((n, size, size, 3), np.uint8)
    for index in range(n):
        kind = rng.choice(4, p=[0.25, 0.15, 0.4, 0.2])
        if kind == 3:
            picture = mix(_shapes(rng), _smooth(rng), np.clip(fractal_noise(rng, SIDE, 3) + 0.4, 0, 1))
        else:
            picture = (_smooth, _ramp, _shapes)[kind](rng)
        image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        pictures[index] = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return pictures
