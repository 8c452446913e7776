"""Hats, glasses and a scarf as they are drawn, before anybody wears them."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

CANVAS = 256  # pixels of a drawn accessory's square; `UNIT` of them are the width it is drawn for
UNIT = 128
FINE = 3  # drawn at three times that, then reduced
RAINBOW = ((228, 30, 38), (255, 140, 20), (255, 225, 30), (50, 175, 60), (40, 95, 225), (140, 50, 190))
INK = (30, 22, 34)


class Pen:
    """Draws in units of the width worn, x to the right and y upwards, around the middle of the canvas."""

    def __init__(self) -> None:
        side = CANVAS * FINE
        self.image = Image.new("RGBA", (side, side))
        self.draw = ImageDraw.Draw(self.image)
        self.unit, self.middle, self.line = UNIT * FINE, side / 2, 6 * FINE // 2

    def at(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(self.middle + u * self.unit, self.middle - v * self.unit) for u, v in points]

    def polygon(self, fill, *points: tuple[float, float], outline=INK) -> None:
        self.draw.polygon(self.at(*points), fill=fill)
        if outline:
            ends = self.at(*points, points[0], points[1])
            self.draw.line(ends, fill=outline, width=self.line, joint="curve")

    def ellipse(self, fill, left: float, bottom: float, right: float, top: float, outline=INK, width=None) -> None:
        (x0, y0), (x1, y1) = self.at((left, top), (right, bottom))
        self.draw.ellipse((x0, y0, x1, y1), fill=fill, outline=outline, width=width or self.line)

    def bar(self, fill, left: float, bottom: float, right: float, top: float, radius: float = 0.0, outline=INK) -> None:
        (x0, y0), (x1, y1) = self.at((left, top), (right, bottom))
        box = (x0, y0, x1, y1)
        self.draw.rounded_rectangle(box, radius * self.unit, fill=fill, outline=outline, width=self.line)


def curve(*points: tuple[float, float], steps: int = 8) -> list[tuple[float, float]]:
    """A smooth closed outline through the points (Catmull-Rom)."""
    p = np.array(points, np.float32)
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (x[:, None] for x in (before, p, after, later))
    smooth = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return [tuple(q) for q in smooth.reshape(-1, 2)]


def _red_hat(pen: Pen) -> None:
    pen.polygon(
        (222, 26, 34), *curve((-0.46, 0.0), (-0.44, 0.36), (-0.24, 0.60), (0.24, 0.60), (0.44, 0.36), (0.46, 0.0))
    )
    pen.polygon((246, 92, 92), *curve((-0.34, 0.22), (-0.28, 0.42), (-0.12, 0.52), (-0.20, 0.34)), outline=None)
    pen.bar((120, 6, 18), -0.46, 0.02, 0.46, 0.16)
    pen.ellipse((196, 16, 26), -0.74, -0.13, 0.74, 0.13)
    pen.polygon((120, 6, 18), *curve((-0.45, 0.06), (0.0, 0.0), (0.45, 0.06), (0.44, 0.19), (0.0, 0.13), (-0.44, 0.19)))


def _santa_hat(pen: Pen) -> None:
    pen.polygon(
        (218, 24, 32),
        *curve(
            (-0.50, 0.0),
            (-0.42, 0.36),
            (-0.10, 0.74),
            (0.32, 0.82),
            (0.66, 0.56),
            (0.70, 0.34),
            (0.56, 0.40),
            (0.46, 0.48),
            (0.48, 0.0),
        ),
    )
    pen.polygon(
        (160, 10, 22), *curve((0.20, 0.20), (0.40, 0.48), (0.30, 0.60), (0.44, 0.46), (0.42, 0.14)), outline=None
    )
    pen.polygon((244, 84, 84), *curve((-0.38, 0.26), (-0.24, 0.52), (0.0, 0.68), (-0.22, 0.40)), outline=None)
    pen.bar((250, 250, 250), -0.62, -0.13, 0.62, 0.17, radius=0.15)
    pen.bar((226, 228, 236), -0.54, -0.10, 0.54, -0.01, radius=0.05, outline=None)
    pen.ellipse((250, 250, 250), 0.50, 0.12, 0.86, 0.48)


def _black_top_hat(pen: Pen) -> None:
    pen.polygon((34, 32, 40), (-0.42, 0.0), (-0.46, 0.86), (0.46, 0.86), (0.42, 0.0))
    pen.ellipse((66, 64, 76), -0.46, 0.78, 0.46, 0.94)
    pen.polygon((88, 86, 100), (-0.36, 0.24), (-0.38, 0.78), (-0.26, 0.76), (-0.25, 0.22), outline=None)
    pen.ellipse((34, 32, 40), -0.74, -0.14, 0.74, 0.14)
    pen.polygon(
        (170, 30, 48), *curve((-0.43, 0.05), (0.0, -0.02), (0.43, 0.05), (0.43, 0.24), (0.0, 0.17), (-0.43, 0.24))
    )


def _wizard_hat(pen: Pen) -> None:
    pen.polygon(
        (116, 38, 186), (-0.46, 0.0), (-0.20, 0.44), (-0.02, 0.84), (0.22, 1.0), (0.14, 0.76), (0.24, 0.44), (0.46, 0.0)
    )
    pen.polygon((164, 92, 226), (-0.34, 0.12), (-0.14, 0.48), (0.02, 0.80), (-0.04, 0.44), (-0.16, 0.10), outline=None)
    pen.ellipse((96, 28, 160), -0.78, -0.15, 0.78, 0.15)
    pen.polygon(
        (255, 206, 40), *curve((-0.45, 0.05), (0.0, -0.02), (0.45, 0.05), (0.42, 0.20), (0.0, 0.13), (-0.42, 0.20))
    )
    for u, v, r in ((-0.12, 0.36, 0.10), (0.17, 0.30, 0.08), (0.06, 0.62, 0.08)):
        turns = np.arange(10) * np.pi / 5
        points = [
            (u + r * (1 if k % 2 == 0 else 0.42) * np.sin(t), v + r * (1 if k % 2 == 0 else 0.42) * np.cos(t))
            for k, t in enumerate(turns)
        ]
        pen.polygon((255, 226, 70), *points, outline=None)


def _chef_hat(pen: Pen) -> None:
    for u, v in ((-0.34, 0.50), (0.34, 0.50), (0.0, 0.64)):
        pen.ellipse((250, 250, 250), u - 0.30, v - 0.28, u + 0.30, v + 0.28)
    pen.ellipse((250, 250, 250), -0.44, 0.26, 0.44, 0.74, outline=None)
    pen.polygon((250, 250, 250), (-0.42, -0.06), (-0.44, 0.34), (0.44, 0.34), (0.42, -0.06))
    pen.ellipse((250, 250, 250), -0.42, 0.28, 0.42, 0.56, outline=None)
    for u in (-0.22, 0.0, 0.22):
        pen.bar((214, 216, 226), u - 0.02, 0.04, u + 0.02, 0.40, radius=0.02, outline=None)


HATS = {
    "red hat": _red_hat,
    "santa hat": _santa_hat,
    "black top hat": _black_top_hat,
    "wizard hat": _wizard_hat,
    "chef hat": _chef_hat,
}


def _pink_glasses(pen: Pen) -> None:
    pink, width = (255, 30, 146), int(0.10 * UNIT * FINE)
    pen.bar(pink, -0.10, -0.02, 0.10, 0.08, outline=None)
    for centre in (-0.29, 0.29):
        pen.ellipse((255, 176, 220, 150), centre - 0.26, -0.25, centre + 0.26, 0.25, outline=None)
        pen.ellipse(None, centre - 0.27, -0.26, centre + 0.27, 0.26, outline=pink, width=width)
        pen.polygon(
            (255, 255, 255, 220),
            (centre - 0.12, 0.02),
            (centre - 0.02, 0.14),
            (centre + 0.04, 0.14),
            (centre - 0.10, -0.04),
            outline=None,
        )


def _rainbow_scarf(pen: Pen) -> None:
    tail = [(0.14, -0.02), (0.46, -0.02), (0.50, -0.78), (0.18, -0.78)]
    pen.polygon(RAINBOW[0], *tail)
    for index, colour in enumerate(RAINBOW):
        top = -0.06 - index * 0.12
        pen.polygon(colour, (0.15, top), (0.47, top), (0.48, top - 0.12), (0.16, top - 0.12), outline=None)
    left, right = -0.54, 0.54
    for index, colour in enumerate(RAINBOW):
        x0, x1 = left + index * (right - left) / 6, left + (index + 1) * (right - left) / 6
        sag = [0.10 * (x / 0.54) ** 2 for x in (x0, x1)]
        pen.polygon(
            colour, (x0, 0.16 + sag[0]), (x1, 0.16 + sag[1]), (x1, -0.20 + sag[1]), (x0, -0.20 + sag[0]), outline=None
        )
    rim = np.linspace(left, right, 12)
    upper, lower = [(x, 0.16 + 0.10 * (x / 0.54) ** 2) for x in rim], [(x, -0.20 + 0.10 * (x / 0.54) ** 2) for x in rim]
    pen.draw.line(pen.at(*upper, *lower[::-1], upper[0]), fill=INK, width=pen.line, joint="curve")
    pen.draw.line(
        pen.at((0.15, -0.19), (0.18, -0.78), (0.50, -0.78), (0.47, -0.17)), fill=INK, width=pen.line, joint="curve"
    )


@cache
def levels(accessory: str) -> tuple[Image.Image, ...]:
    """The drawn accessory at full and half scale."""
    pen = Pen()
    {**HATS, "pink glasses": _pink_glasses, "rainbow scarf": _rainbow_scarf}[accessory](pen)
    full = pen.image.convert("RGBa").reduce(FINE)
    return full.convert("RGBA"), full.reduce(2).convert("RGBA")
