"""Pieces of scenery that are drawn once, large, and then stamped into pictures: people, a tower, rocks, corals."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
FINE = 3  # drawn so many times as large as kept


class Sheet:
    """A transparent square in units of its own side, y downwards, that is drawn large and reduced."""

    def __init__(self, width: int, height: int) -> None:
        self.scale = height * FINE
        self.image = Image.new("RGBA", (width * FINE, height * FINE))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points, fill) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=fill)

    def line(self, points, fill, width: float) -> None:
        at = [(x * self.scale, y * self.scale) for x, y in points]
        self.draw.line(at, fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def disc(self, x: float, y: float, r: float, fill) -> None:
        s = self.scale
        self.draw.ellipse(((x - r) * s, (y - r) * s, (x + r) * s, (y + r) * s), fill=fill)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, fill) -> None:
        s = self.scale
        self.draw.ellipse((x0 * s, y0 * s, x1 * s, y1 * s), fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill, radius: float = 0.0) -> None:
        s = self.scale
        self.draw.rounded_rectangle((x0 * s, y0 * s, x1 * s, y1 * s), radius * s, fill=fill)

    def done(self) -> Image.Image:
        small = self.image.convert("RGBa").reduce(FINE).convert("RGBA")
        return small.crop(small.getbbox())


def mixed(a: RGB, b: RGB, t: float) -> RGB:
    red, green, blue = (int(x + (y - x) * float(np.clip(t, 0, 1))) for x, y in zip(a, b, strict=True))
    return red, green, blue


def seeded(name: str, variant: int) -> np.random.Generator:
    return np.random.default_rng([*name.encode(), variant])


@cache
def person(variant: int) -> Image.Image:
    """Someone in the street, seen from the front, in plain clothes."""
    rng, sheet = seeded("person", variant), Sheet(56, 128)
    skin = ((238, 196, 164), (214, 160, 122), (150, 100, 70), (104, 68, 48))[variant % 4]
    coats = (
        (196, 58, 52),
        (52, 92, 160),
        (60, 120, 90),
        (222, 178, 70),
        (120, 82, 130),
        (70, 74, 86),
        (226, 226, 226),
        (206, 120, 70),
    )
    coat, legs = coats[variant % 8], ((44, 48, 66), (78, 84, 110), (96, 76, 62))[variant % 3]
    hair = ((40, 28, 22), (98, 62, 34), (206, 168, 96), (120, 120, 124))[(variant // 2) % 4]
    x = 0.22
    for side in (-1, 1):
        sheet.box(x + side * 0.045 - 0.04, 0.55, x + side * 0.045 + 0.04, 0.97, legs, 0.02)
        sheet.box(x + side * 0.05 - 0.045, 0.955, x + side * 0.05 + 0.045, 1.0, (30, 26, 28), 0.02)
        swing = rng.uniform(-0.02, 0.03)
        sheet.line(
            [(x + side * 0.10, 0.24), (x + side * (0.145 + swing), 0.42), (x + side * (0.13 + swing), 0.56)],
            mixed(coat, (0, 0, 0), 0.2),
            0.055,
        )
        sheet.disc(x + side * (0.13 + swing), 0.575, 0.026, skin)
    sheet.polygon([(x - 0.11, 0.22), (x + 0.11, 0.22), (x + 0.10, 0.60), (x - 0.10, 0.60)], coat)
    sheet.polygon(
        [(x - 0.11, 0.22), (x - 0.03, 0.22), (x - 0.05, 0.60), (x - 0.10, 0.60)], mixed(coat, (255, 255, 255), 0.18)
    )
    sheet.box(x - 0.11, 0.185, x + 0.11, 0.27, coat, 0.04)
    sheet.disc(x, 0.085, 0.075, hair)
    sheet.ellipse(x - 0.055, 0.045, x + 0.055, 0.165, skin)
    if variant % 3 == 0:
        sheet.polygon(
            [
                (x - 0.075, 0.08),
                (x - 0.04, 0.02),
                (x + 0.04, 0.02),
                (x + 0.075, 0.08),
                (x + 0.06, 0.2),
                (x + 0.05, 0.06),
                (x - 0.05, 0.06),
                (x - 0.06, 0.2),
            ],
            hair,
        )
    return sheet.done()


@cache
def tower() -> Image.Image:
    """The Eiffel Tower: four legs that sweep up into one, three platforms, lattice, and an arch."""
    sheet = Sheet(150, 256)
    iron, lit, dark, x = (124, 88, 62), (166, 124, 90), (86, 58, 42), 0.293
    ys = np.linspace(0.06, 1.0, 60)
    half = 0.008 + 0.27 * ((ys - 0.06) / 0.94) ** 2.5
    inner = np.where(ys > 0.60, half - 0.016 - 0.105 * (np.maximum(ys - 0.45, 0) / 0.55) ** 1.6, 0.0).clip(0)
    for side in (-1, 1):
        outer = [(x + side * h, y) for h, y in zip(half, ys)]
        inside = [(x + side * i, y) for i, y in zip(inner, ys)]
        sheet.polygon(outer + inside[::-1], lit if side < 0 else iron)
        for k in range(4, 58, 2):  # lattice
            a, b = (x + side * half[k], ys[k]), (x + side * inner[k + 1], ys[k + 1])
            sheet.line([a, b], dark, 0.0045)
            sheet.line([(x + side * inner[k], ys[k]), (x + side * half[k + 1], ys[k + 1])], dark, 0.0045)
        sheet.line(outer, dark, 0.005)
    turns = np.linspace(np.pi, 2 * np.pi, 24)
    arch = [(x + 0.150 * np.cos(t), 0.965 + 0.135 * np.sin(t)) for t in turns]
    sheet.line(arch, iron, 0.018)
    sheet.line(arch, dark, 0.005)
    for y, w in ((0.80, 0.145), (0.60, 0.082), (0.19, 0.026)):
        sheet.box(x - w, y - 0.011, x + w, y + 0.013, dark)
        sheet.box(x - w, y - 0.014, x + w, y - 0.004, lit)
    sheet.line([(x, 0.0), (x, 0.08)], dark, 0.007)
    return sheet.done()


@cache
def coral(variant: int) -> Image.Image:
    """Branching coral, or a weed that sways."""
    rng, sheet = seeded("coral", variant), Sheet(96, 96)
    if variant % 3 == 2:
        for k in range(5):
            x, phase = 0.25 + 0.12 * k, rng.uniform(0, 6)
            high = rng.uniform(0.6, 0.98)
            spine = [(x + 0.05 * np.sin(5 * t + phase) * t, 1 - high * t) for t in np.linspace(0, 1, 14)]
            sheet.line(spine, mixed((16, 92, 66), (86, 168, 78), rng.random()), 0.045)
        return sheet.done()
    tone = ((236, 96, 110), (246, 150, 70), (188, 90, 180), (250, 196, 90))[variant % 4]

    def branch(x: float, y: float, angle: float, length: float, width: float) -> None:
        end = (x + length * np.sin(angle), y - length * np.cos(angle))
        sheet.line([(x, y), end], mixed(tone, (90, 30, 70), 0.35), width * 1.25)
        sheet.line([(x - 0.008, y), (end[0] - 0.008, end[1])], tone, width * 0.8)
        sheet.disc(*end, width * 0.6, mixed(tone, (255, 255, 255), 0.25))
        if length > 0.1:
            for turn in (-0.5, 0.1, 0.55):
                branch(*end, angle + turn + rng.normal(0, 0.12), length * 0.68, width * 0.72)

    for angle in (-0.5, 0.0, 0.45):
        branch(0.5, 1.0, angle, 0.30, 0.085)
    return sheet.done()


@cache
def rock(variant: int, dark: RGB = (84, 80, 80), light: RGB = (176, 170, 164)) -> Image.Image:
    """A boulder lit from the left above."""
    rng, sheet = seeded("rock", variant), Sheet(96, 64)
    turns = np.linspace(np.pi, 2 * np.pi, 9)
    rim = [
        (0.75 + 0.66 * np.cos(t) * rng.uniform(0.88, 1), 0.98 + 0.85 * np.sin(t) * rng.uniform(0.85, 1)) for t in turns
    ]
    sheet.polygon([*rim, (1.42, 1.0), (0.08, 1.0)], mixed(dark, light, 0.35))
    sheet.polygon([*rim[:5], (0.85, 0.55), (0.45, 0.72), (0.1, 0.98)], mixed(dark, light, 0.85))
    sheet.polygon([rim[6], rim[7], rim[8], (1.4, 1.0), (1.0, 1.0), (0.95, 0.6)], dark)
    return sheet.done()


@cache
def mesa(variant: int) -> Image.Image:
    """A table mountain of layered red rock."""
    rng, sheet = seeded("mesa", variant), Sheet(160, 80)
    left, right = 0.35 + rng.uniform(-0.1, 0.1), 1.6 + rng.uniform(-0.1, 0.1)
    wall = [
        (0.06, 1.0),
        (left - 0.12, 0.62),
        (left, 0.14),
        (left + 0.35, 0.08),
        (right - 0.4, 0.12),
        (right, 0.16),
        (right + 0.14, 0.64),
        (1.94, 1.0),
    ]
    sheet.polygon(wall, (176, 92, 62))
    sheet.polygon([(right - 0.5, 0.12), (right, 0.16), (right + 0.14, 0.64), (1.94, 1.0), (1.3, 1.0)], (134, 64, 50))
    for y, tone in ((0.26, (206, 124, 84)), (0.40, (150, 76, 54)), (0.55, (200, 112, 76)), (0.70, (158, 82, 58))):
        sheet.line(
            [(left - 0.02 - 0.25 * max(0, y - 0.3), y), (right + 0.02 + 0.3 * max(0, y - 0.4), y + 0.02)], tone, 0.02
        )
    return sheet.done()
