"""What the scene painters share: their registry, skies, grounds, stamps and brushes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from booth.world.light import Ground, Light
from booth.world.noise import fractal_noise, jitter, mix, value_noise
from booth.world.vocabulary import RGB
from booth.world.warp import SIDE

ROWS = (np.arange(SIDE, dtype=np.float32)[:, None] + 0.5) / SIDE  # 0 at the top
COLUMNS = ROWS.T
FINE = 2  # brushes draw at twice the picture's scale

Rng = np.random.Generator


@dataclass(eq=False)
class Painted:
    """A scene with nothing in it, and what it does to a thing."""

    picture: np.ndarray  # (SIDE, SIDE, 3) float32, 0..255
    nearness: np.ndarray  # (SIDE, SIDE) float32, 0 (far) .. 1 (near)
    light: Light = field(default_factory=Light)
    ground: Ground = field(default_factory=Ground)
    front: Image.Image | None = None  # RGBA, what hangs or falls before everything


Painter = Callable[[Rng], Painted]
Texture = Callable[[], Image.Image]
PAINTERS: dict[str, Painter] = {}


def scene(name: str) -> Callable[[Painter], Painter]:
    """Register the painter of a scene."""

    def register(painter: Painter) -> Painter:
        PAINTERS[name] = painter
        return painter

    return register


def spread(shape_like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(shape_like, (SIDE, SIDE)).astype(np.float32)


def to_image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def gradient(top, bottom, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """A picture that runs from one colour down to another."""
    column = mix(top, bottom, np.clip((ROWS - start) / (end - start), 0, 1))
    return np.broadcast_to(column, (SIDE, SIDE, 3)).astype(np.float32)


def tint(rng: Rng, colour, amount: float = 12) -> RGB:
    red, green, blue = jitter(rng, colour, amount)
    return int(red), int(green), int(blue)


def shade(colour, by: float) -> RGB:
    """A colour made darker (below 1) or lighter."""
    red, green, blue = (int(np.clip(c * by, 0, 255)) for c in colour)
    return red, green, blue


class Brush:
    """Draws in picture pixels onto a picture of twice the scale, colours with a fourth number for opacity."""

    def __init__(self, image: Image.Image) -> None:
        self.draw = ImageDraw.Draw(image, "RGBA")

    def polygon(self, points, fill) -> None:
        self.draw.polygon([(x * FINE, y * FINE) for x, y in points], fill=fill)

    def line(self, points, fill, width: float = 1) -> None:
        self.draw.line([(x * FINE, y * FINE) for x, y in points], fill=fill, width=max(1, round(width * FINE)))

    def disc(self, x: float, y: float, r: float, fill) -> None:
        self.draw.ellipse(((x - r) * FINE, (y - r) * FINE, (x + r) * FINE, (y + r) * FINE), fill=fill)

    def ellipse(self, box, fill=None, outline=None, width: float = 1) -> None:
        self.draw.ellipse([c * FINE for c in box], fill=fill, outline=outline, width=round(width * FINE))

    def box(self, left: float, top: float, right: float, bottom: float, fill) -> None:
        self.draw.rectangle((left * FINE, top * FINE, right * FINE - 1, bottom * FINE - 1), fill=fill)


def drawn(picture: np.ndarray, draw: Callable[[Brush], None]) -> np.ndarray:
    """Draw shapes onto a picture, with smooth edges."""
    image = to_image(picture).resize((SIDE * FINE, SIDE * FINE), Image.Resampling.NEAREST)
    draw(Brush(image))
    return np.asarray(image.reduce(FINE), np.float32)


def clear_layer(draw: Callable[[Brush], None], blur: float = 0.0) -> Image.Image:
    """Draw shapes onto nothing: an RGBA layer of the picture's size."""
    image = Image.new("RGBA", (SIDE * FINE, SIDE * FINE))
    brush = Brush(image)
    brush.draw = ImageDraw.Draw(image)  # onto nothing a colour is laid as it is
    draw(brush)
    if blur:
        image = image.convert("RGBa").filter(ImageFilter.GaussianBlur(blur * FINE)).convert("RGBA")
    return image.convert("RGBa").reduce(FINE).convert("RGBA")


Stamp = tuple[Image.Image, float, float, float, bool]  # stamp, middle x, bottom y, height, mirrored
STEP = 1.07  # between the heights at which a stamp is kept


def stamped(picture: np.ndarray, pieces: list[Stamp]) -> np.ndarray:
    """Paste stamps in turn, each scaled to its height."""
    image = to_image(picture)
    for piece in pieces:
        stamp_onto(image, *piece)
    return np.asarray(image, np.float32)


_SCALED: dict[
    tuple[int, int, bool], tuple[Image.Image, Image.Image]
] = {}  # a stamp's identity keeps it in its own cache


def _scaled(stamp: Image.Image, level: int, mirrored: bool) -> Image.Image:
    """A stamp at one of the kept heights."""
    key = id(stamp), level, mirrored
    if key not in _SCALED:
        height = STEP**level
        size = max(1, round(stamp.width * height / stamp.height)), max(1, round(height))
        small = stamp.resize(size, Image.Resampling.BOX if size[1] < stamp.height else Image.Resampling.BICUBIC)
        _SCALED[key] = (small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else small), stamp
    return _SCALED[key][0]


def stamp_onto(image: Image.Image, stamp: Image.Image, x: float, y: float, height: float, mirrored: bool) -> None:
    """Paste one stamp onto an RGB or RGBA image, its bottom's middle at (x, y)."""
    small = _scaled(stamp, round(np.log(max(height, 1.5)) / np.log(STEP)), mirrored)
    at = round(x - small.width / 2), round(y - small.height)
    if image.mode != "RGBA":
        image.paste(small, at, small)
    elif at[0] < SIDE and at[1] < SIDE and at[0] + small.width > 0 and at[1] + small.height > 0:
        image.alpha_composite(small, (max(at[0], 0), max(at[1], 0)), (max(-at[0], 0), max(-at[1], 0)))


_RECOLOURED: dict[tuple, tuple[Image.Image, Image.Image]] = {}


def recoloured(stamp: Image.Image, by: float | tuple[float, float, float]) -> Image.Image:
    """A stamp whose colours are multiplied by a number (in steps of a twentieth) or by one a channel."""
    factors = by if isinstance(by, tuple) else (round(by * 20) / 20,) * 3
    key = id(stamp), factors
    if key not in _RECOLOURED:
        r, g, b, a = stamp.split()
        tables = [[min(255, int(c * f)) for c in range(256)] for f in factors]
        bands = [band.point(table) for band, table in zip((r, g, b), tables, strict=True)]
        _RECOLOURED[key] = Image.merge("RGBA", (*bands, a)), stamp
    return _RECOLOURED[key][0]


def sky(rng: Rng, top=(84, 158, 232), bottom=(206, 230, 248), end: float = 0.6, clouds: float = 1.0) -> np.ndarray:
    """A sky that pales towards the horizon, with soft clouds lit from above."""
    heaven = gradient(jitter(rng, top, 10), jitter(rng, bottom, 8), 0, end)
    if clouds <= 0:
        return heaven
    puffs = fractal_noise(rng, SIDE, 3, 4, stretch=2)
    cover = np.clip((puffs - rng.uniform(-0.05, 0.25)) * 3.2, 0, 1) * clouds * np.clip((end - ROWS) * 6, 0, 1)
    below = np.clip((np.roll(puffs, -6, axis=0) - puffs) * 2.2 + 0.35, 0, 1)
    cloud = mix((255, 255, 255), np.asarray(bottom) * 0.90, below)
    return mix(heaven, cloud, cover)


def join(above: np.ndarray, ground: np.ndarray | RGB, horizon: float | np.ndarray) -> np.ndarray:
    """Put a ground, a picture or a colour, under what is above the horizon.

    That is a fraction of the height, or one for each column.
    """
    return mix(above, ground, spread(np.clip((ROWS - horizon) * SIDE + 0.5, 0, 1)))


def standing_nearness(horizon: float) -> np.ndarray:
    return spread(np.where(horizon < ROWS, 0.2 + 0.6 * (ROWS - horizon) / max(1 - horizon, 0.05), 0.05))


def ridge(rng: Rng, base: float, height: float, bumps: int, octaves: int = 3) -> np.ndarray:
    """A (1, SIDE) skyline around `base` (fraction of the height)."""
    total = np.zeros((1, SIDE), np.float32)
    for octave in range(octaves):
        total += value_noise(rng, SIDE, 1, bumps * 2**octave)[:1] * 0.5**octave
    return base - height * (0.5 + 0.5 * total / 1.6)


def lie(texture: Texture, rng: Rng, horizon: float, density: float = 1.0, lift: float = 1.0) -> np.ndarray:
    """A square texture laid out as the ground in perspective, (SIDE, SIDE, 3); above the horizon it is void."""
    near = _mips(texture)
    side = near[0].shape[0]
    top = horizon * SIDE
    # A ground pixel (x, y) shows the texture at ((x - 64) / d, 1 / d), d = depth of the row below the horizon.
    depth = (np.arange(SIDE, dtype=np.float32) + 0.5 - top) / (SIDE - top)
    depth = np.clip(depth, 0.035, None)[:, None]
    xs = (np.arange(SIDE, dtype=np.float32)[None, :] + 0.5 - SIDE / 2) / SIDE
    scale = density * side * 0.5
    u = (xs / depth * scale + rng.integers(side)).astype(np.int32) % side
    v = (lift * scale / depth + rng.integers(side)).astype(np.int32) % side
    out = np.zeros((SIDE, SIDE, 3), np.float32)
    # Rows far away show a blurred texture, so that they do not flicker.
    step = scale / SIDE / depth[:, 0] * np.maximum(1, lift / depth[:, 0] * SIDE / (SIDE - top) * 0.6)
    level = np.clip(np.log2(np.maximum(step, 1)).round().astype(int), 0, len(near) - 1)
    first = max(0, int(top))
    ends = [*np.flatnonzero(np.diff(level[first:])) + first + 1, SIDE]
    for start, end in zip([first, *ends[:-1]], ends, strict=True):
        k = level[start]
        tile = near[k]
        index = (v[start:end] >> k) * tile.shape[1] + (u[start:end] >> k)
        out[start:end] = tile.reshape(-1, 3).take(index, axis=0)
    return out


@cache
def _mips(texture: Texture) -> list[np.ndarray]:
    levels: list[np.ndarray] = [np.asarray(texture(), np.float32)]
    while len(levels) < 8:
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    return levels


@cache
def _unrolled(texture: Texture, level: int) -> Image.Image:
    """A texture beside itself often enough that a turned piece of a picture's size fits anywhere."""
    tile = _mips(texture)[level].astype(np.uint8)
    return Image.fromarray(np.tile(tile, (3 * 2**level, 3 * 2**level, 1)))


def crop(texture: Texture, rng: Rng, scale: float = 1.0, turn: float = 0.0) -> np.ndarray:
    """A texture seen from above, (SIDE, SIDE, 3): a random piece, `scale` texture pixels a pixel, turned."""
    level = 1 if scale >= 1.6 else 0
    image, side = _unrolled(texture, level), _mips(texture)[level].shape[0]
    cos, sin = np.cos(turn) * scale / 2**level, np.sin(turn) * scale / 2**level
    x, y = side + rng.uniform(0, side), side + rng.uniform(0, side)  # what the picture's middle shows
    half = SIDE / 2
    matrix = (cos, -sin, x - half * (cos - sin), sin, cos, y - half * (sin + cos))
    piece = image.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(piece, np.float32)


def vignette(picture: np.ndarray, amount: float) -> np.ndarray:
    """Darken the corners a little."""
    far = ((ROWS - 0.5) ** 2 + (COLUMNS - 0.5) ** 2) * 2
    return picture * (1 - amount * far)[..., None]


def scatter(rng: Rng, n: int, top: float, bottom: float) -> list[tuple[float, float]]:
    """Random points, sorted from far to near so that near things are drawn last."""
    points = np.stack([rng.uniform(0, SIDE, n), rng.uniform(top * SIDE, bottom * SIDE, n)], axis=1)
    return [tuple(p) for p in points[np.argsort(points[:, 1])]]
