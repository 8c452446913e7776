"""Where a posed sprite lies in the picture: its maps there, and which point of the glyph each pixel shows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, hypot, radians, sin

import numpy as np
from PIL import Image

from booth.world.sprites import GLYPH, MARGIN, Sprite

SIDE = 128  # pixels of a picture of the world; places and sizes are in these, whatever size is rendered


@dataclass(frozen=True)
class Pose:
    """A glyph of `size` pixels along its longest side, its box's middle at (x, y), turned anticlockwise."""

    x: float
    y: float
    size: float
    angle: float = 0.0  # degrees
    flip: bool = False

    def picture_to_glyph(self) -> tuple[float, float, float, float, float, float]:
        """The affine map (a, b, c, d, e, f) from picture pixels to glyph lengths from the box's middle."""
        c, s = cos(radians(self.angle)) / self.size, sin(radians(self.angle)) / self.size
        m = -1.0 if self.flip else 1.0
        return m * c, -m * s, m * (-c * self.x + s * self.y), s, c, -s * self.x - c * self.y

    def glyph_to_picture(self, u: float, v: float) -> tuple[float, float]:
        """Where a point of the glyph, in glyph lengths from its box's middle, lies in the picture."""
        m = -1.0 if self.flip else 1.0
        c, s = cos(radians(self.angle)), sin(radians(self.angle))
        return self.x + self.size * (c * m * u + s * v), self.y + self.size * (-s * m * u + c * v)


@dataclass(frozen=True, eq=False)
class Warped:
    """The window of the picture that a sprite reaches, and its maps there; all float32."""

    left: int
    top: int
    rgb: np.ndarray  # (h, w, 3) in 0..1
    alpha: np.ndarray  # (h, w) in 0..1
    value: np.ndarray  # (h, w) in 0..1
    slope: np.ndarray  # (2, h, w), right and down in the picture, -1..1
    halo: np.ndarray  # (h, w) in 0..1
    u: np.ndarray  # (h, w), glyph lengths to the right of its box's middle
    v: np.ndarray  # (h, w), downwards
    size: float  # pixels of a glyph length


def window(pose: Pose, u0: float, v0: float, u1: float, v1: float) -> tuple[int, int, int, int] | None:
    """The part of the picture that a box of the glyph reaches (left, top, right, bottom), or None."""
    corners = [pose.glyph_to_picture(u, v) for u in (u0, u1) for v in (v0, v1)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    left, top = max(0, floor(min(xs)) - 1), max(0, floor(min(ys)) - 1)
    right, bottom = min(SIDE, ceil(max(xs)) + 1), min(SIDE, ceil(max(ys)) + 1)
    return (left, top, right, bottom) if right > left and bottom > top else None


def warped_image(
    levels: tuple[Image.Image, ...], pose: Pose, box: tuple[int, int, int, int], middle: tuple[float, float]
) -> Image.Image:
    """Take an image into the box, its `middle` (in pixels of the full scale, `GLYPH` a glyph length) at the pose's."""
    level = 1 if len(levels) > 1 and pose.size < 0.7 * GLYPH else 0
    scale = GLYPH / 2**level
    a, b, c, d, e, f = (scale * number for number in pose.picture_to_glyph())
    left, top, right, bottom = box
    mx, my = middle[0] / 2**level, middle[1] / 2**level
    # Pillow adds the half pixel of its pixel centres itself, as these maps do.
    matrix = (a, b, c + a * left + b * top + mx, d, e, f + d * left + e * top + my)
    size = (right - left, bottom - top)
    return levels[level].transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def warp(sprite: Sprite, pose: Pose) -> Warped | None:
    """Put a sprite into the picture, or return None where nothing of it is seen."""
    half_w, half_h = (sprite.width / 2 + MARGIN) / GLYPH, (sprite.height / 2 + MARGIN) / GLYPH
    box = window(pose, -half_w, -half_h, half_w, half_h)
    if box is None:
        return None
    middle = MARGIN + sprite.width / 2, MARGIN + sprite.height / 2
    look = np.asarray(warped_image(sprite.looks, pose, box, middle), np.float32) * np.float32(1 / 255)
    surface = np.asarray(warped_image(sprite.surfaces, pose, box, middle), np.float32)
    left, top, right, bottom = box
    a, b, c, d, e, f = (np.float32(n) for n in pose.picture_to_glyph())
    xs = np.arange(left, right, dtype=np.float32) + np.float32(0.5)
    ys = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5))[:, None]
    inside = surface[..., 3] > 0
    gx = (surface[..., 1] - 128) * np.float32(1 / 127) * inside
    gy = (surface[..., 2] - 128) * np.float32(1 / 127) * inside
    norm = np.float32(hypot(a, b))
    # The slope is a direction of the glyph: the transpose of picture-to-glyph turns it back.
    slope = np.stack([(a * gx + d * gy) / norm, (b * gx + e * gy) / norm])
    return Warped(
        left,
        top,
        look[..., :3],
        look[..., 3],
        surface[..., 0] * np.float32(1 / 255),
        slope,
        surface[..., 3] * np.float32(1 / 255),
        a * xs + b * ys + c,
        d * xs + e * ys + f,
        pose.size,
    )
