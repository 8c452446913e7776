"""What the scene painters share: their registry, skies, grounds and scattering."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from booth.world.noise import fractal_noise, jitter, mix, value_noise

SIDE = 128  # painters work at twice the world's 64 pixels, and render() reduces
ROWS = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]  # 0 at the top
COLUMNS = ROWS.T

Rng = np.random.Generator
Painter = Callable[[Rng], tuple[np.ndarray, np.ndarray]]
PAINTERS: dict[str, Painter] = {}


def scene(name: str) -> Callable[[Painter], Painter]:
    """Register a painter: rng -> (SIDE, SIDE, 3) float 0..255 and (SIDE, SIDE) nearness 0 (far) .. 1 (near)."""

    def register(painter: Painter) -> Painter:
        PAINTERS[name] = painter
        return painter

    return register


def field(shape_like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(shape_like, (SIDE, SIDE)).astype(np.float32)


def gradient(top, bottom, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    weight = np.clip((ROWS - start) / (end - start), 0, 1)
    return mix(top, bottom, field(weight))


def standing(sky: np.ndarray, ground: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Join a sky and a ground at the horizon (fraction of the height); the ground comes nearer downwards."""
    below = (horizon < ROWS).astype(np.float32)
    nearness = field(np.where(below > 0, 0.2 + 0.6 * (ROWS - horizon) / (1 - horizon), 0.05))
    return mix(sky, ground, field(below)), nearness


def flat(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return picture, np.full((SIDE, SIDE), 0.45, np.float32)


def textured(rng: Rng, dark, light, cells: int, octaves: int = 3) -> np.ndarray:
    return mix(jitter(rng, dark), jitter(rng, light), np.clip(fractal_noise(rng, SIDE, cells, octaves) + 0.5, 0, 1))


def drawn(picture: np.ndarray, draw: Callable[[ImageDraw.ImageDraw], None]) -> np.ndarray:
    """Draw shapes with Pillow onto a picture."""
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw(ImageDraw.Draw(image))
    return np.asarray(image, np.float32)


def tint(rng: Rng, colour, amount: float = 12) -> tuple[int, int, int]:
    return tuple(int(c) for c in jitter(rng, colour, amount))


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def sky(rng: Rng, top=(96, 168, 235), bottom=(205, 230, 250), end: float = 0.6) -> np.ndarray:
    clouds = np.clip(fractal_noise(rng, SIDE, 3) * 1.6 - 0.2, 0, 1) * 0.7
    return mix(gradient(jitter(rng, top), jitter(rng, bottom), 0, end), (255, 255, 255), clouds)


def grass(rng: Rng) -> np.ndarray:
    blades = np.clip(0.5 + 0.5 * value_noise(rng, SIDE, 18, 50) + 0.2 * value_noise(rng, SIDE, 5), 0, 1)
    return mix(jitter(rng, (52, 120, 34)), jitter(rng, (120, 190, 62)), blades)


def scatter(rng: Rng, n: int, top: float, bottom: float) -> list[tuple[float, float]]:
    """Random points, sorted from far to near so that near things are drawn last."""
    points = np.stack([rng.uniform(0, SIDE, n), rng.uniform(top * SIDE, bottom * SIDE, n)], axis=1)
    return [tuple(p) for p in points[np.argsort(points[:, 1])]]
