"""Drawing what live subjects wear onto their sprites, bold enough to be read at 64 pixels."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from booth.world.dress import ANCHORS
from booth.world.sprites import GLYPH, SPRITE, sprite

SCALE = 2  # drawn at twice the sprite's size, then reduced
RAINBOW = ((228, 30, 38), (255, 140, 20), (255, 225, 30), (50, 175, 60), (40, 95, 225), (140, 50, 190))
INK = (30, 22, 34)


class _Pen:
    """Draws in units of a width around a point, x to the right and y upwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, width: float):
        self.draw, self.x, self.y, self.width = draw, x, y, width

    def at(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(self.x + u * self.width, self.y - v * self.width) for u, v in points]

    def polygon(self, fill, *points: tuple[float, float]) -> None:
        self.draw.polygon(self.at(*points), fill=fill, outline=INK, width=3)

    def ellipse(self, fill, left: float, bottom: float, right: float, top: float, outline=INK, width=3) -> None:
        (x0, y0), (x1, y1) = self.at((left, top), (right, bottom))
        self.draw.ellipse((x0, y0, x1, y1), fill=fill, outline=outline, width=width)

    def dome(self, fill, left: float, bottom: float, right: float, top: float) -> None:
        (x0, y0), (x1, y1) = self.at((left, top), (right, bottom))
        self.draw.chord((x0, y0, x1, y1), 180, 360, fill=fill, outline=INK, width=3)

    def bar(self, fill, left: float, bottom: float, right: float, top: float, radius: float = 0.0) -> None:
        (x0, y0), (x1, y1) = self.at((left, top), (right, bottom))
        self.draw.rounded_rectangle((x0, y0, x1, y1), radius * self.width, fill=fill, outline=INK, width=3)


def _red_hat(pen: _Pen) -> None:
    pen.dome((226, 26, 34), -0.42, -0.52, 0.42, 0.60)
    pen.bar((180, 10, 22), -0.68, -0.08, 0.68, 0.10, radius=0.09)


def _santa_hat(pen: _Pen) -> None:
    pen.polygon((226, 26, 34), (-0.5, 0.0), (0.5, 0.0), (0.42, 0.5), (0.62, 0.62), (0.1, 0.78), (-0.3, 0.5))
    pen.bar((250, 250, 250), -0.6, -0.12, 0.6, 0.14, radius=0.12)
    pen.ellipse((250, 250, 250), 0.44, 0.38, 0.80, 0.74)


def _black_top_hat(pen: _Pen) -> None:
    pen.bar((38, 36, 44), -0.40, 0.0, 0.40, 0.80, radius=0.05)
    pen.bar((150, 150, 165), -0.40, 0.10, 0.40, 0.25)
    pen.bar((38, 36, 44), -0.70, -0.08, 0.70, 0.10, radius=0.08)


def _wizard_hat(pen: _Pen) -> None:
    pen.polygon((122, 40, 190), (-0.46, 0.0), (0.46, 0.0), (0.10, 0.86))
    pen.ellipse((122, 40, 190), -0.72, -0.14, 0.72, 0.14)
    for u, v in ((-0.12, 0.26), (0.18, 0.34), (0.05, 0.56)):
        pen.ellipse((255, 222, 40), u - 0.08, v - 0.08, u + 0.08, v + 0.08, outline=None)


def _chef_hat(pen: _Pen) -> None:
    for u, v in ((-0.30, 0.42), (0.30, 0.42), (0.0, 0.56)):
        pen.ellipse((250, 250, 250), u - 0.30, v - 0.28, u + 0.30, v + 0.28)
    pen.bar((250, 250, 250), -0.42, -0.06, 0.42, 0.34)


HATS = {
    "red hat": _red_hat,
    "santa hat": _santa_hat,
    "black top hat": _black_top_hat,
    "wizard hat": _wizard_hat,
    "chef hat": _chef_hat,
}


def _pink_glasses(pen: _Pen) -> None:
    pink = (255, 40, 150)
    pen.bar(pink, -0.12, -0.04, 0.12, 0.06)
    for centre in (-0.28, 0.28):
        pen.ellipse((255, 190, 225), centre - 0.25, -0.24, centre + 0.25, 0.24, outline=pink, width=9)


def _rainbow_scarf(pen: _Pen) -> None:
    for index, colour in enumerate(RAINBOW):
        left = -0.5 + index / 6
        pen.draw.rectangle((*pen.at((left, 0.17))[0], *pen.at((left + 1 / 6, -0.17))[0]), fill=colour)
        top = -0.10 - index * 0.105
        pen.draw.rectangle((*pen.at((0.14, top))[0], *pen.at((0.44, top - 0.105))[0]), fill=colour)
    corners = [(-0.5, 0.17), (0.5, 0.17), (0.5, -0.17), (0.44, -0.17), (0.44, -0.73), (0.14, -0.73), (0.14, -0.17)]
    pen.draw.polygon(pen.at(*corners, (-0.5, -0.17)), outline=INK, width=3)


@dataclass(frozen=True)
class Cloth:
    """What a shirt is made of, in 0..1: broad upright stripes of the colours in turn, and a hem."""

    colours: tuple[tuple[float, float, float], ...]
    hem: tuple[float, float, float]


SHIRTS = {
    "yellow shirt": Cloth(((1.0, 220 / 255, 20 / 255),), (0.72, 0.5, 0.0)),
    # Of no caption, so that no base knows it: the garment that a guide teaches.
    "striped shirt": Cloth(((0.88, 0.12, 0.18), (0.96, 0.96, 0.96)), (0.1, 0.1, 0.3)),
}
STRIPES = 9  # across a glyph's box


def _shirt(pixels: np.ndarray, glyph: str, cloth: Cloth) -> np.ndarray:
    """Dye the torso; legs, head and tail keep their marks."""
    shape = sprite(glyph)
    left, top, right, bottom = shape.box
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = ANCHORS[glyph].torso
    ys, xs = np.mgrid[:SPRITE, :SPRITE]
    u, v = (xs - left) / width, (ys - top) / height
    depth = np.minimum(np.minimum(u - x0, x1 - u) * width, np.minimum(v - y0, y1 - v) * height)
    inside = np.clip(depth + 0.5, 0, 1) * (shape.alpha > 0.5)
    hem = np.clip(3.0 - depth, 0, 1)[..., None]
    stripe = np.floor(u * STRIPES).astype(int) % len(cloth.colours)
    dyed = np.array(cloth.colours, np.float32)[stripe] * (0.8 + 0.25 * shape.value[..., None])
    dyed = np.minimum(dyed * (1 - hem) + np.array(cloth.hem) * hem, 1)
    out = pixels.copy()
    out[..., :3] += inside[..., None] * (dyed - out[..., :3])
    return out


def wear(pixels: np.ndarray, glyph: str, accessory: str) -> np.ndarray:
    """Put an accessory on a (S, S, 4) sprite in 0..1; raises KeyError where the glyph has no anchors."""
    anchors = ANCHORS[glyph]
    if accessory in SHIRTS:
        return _shirt(pixels, glyph, SHIRTS[accessory])
    place, paint = {
        "pink glasses": (anchors.eyes, _pink_glasses),
        "rainbow scarf": (anchors.neck, _rainbow_scarf),
    }.get(accessory) or (anchors.hat, HATS[accessory])
    left, top, right, bottom = sprite(glyph).box
    layer = Image.new("RGBA", (SPRITE * SCALE, SPRITE * SCALE))
    x, y = left + place[0] * (right - left), top + place[1] * (bottom - top)
    paint(_Pen(ImageDraw.Draw(layer), x * SCALE, y * SCALE, place[2] * GLYPH * SCALE))
    over = np.asarray(layer.reduce(SCALE), np.float32) / 255
    cover = over[..., 3:]
    alpha = cover + pixels[..., 3:] * (1 - cover)
    rgb = (over[..., :3] * cover + pixels[..., :3] * pixels[..., 3:] * (1 - cover)) / np.maximum(alpha, 1e-6)
    return np.concatenate([rgb, alpha], axis=-1)
