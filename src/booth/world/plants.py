"""Plants to stamp into pictures."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image

from booth.world.stamps import RGB, Sheet, mixed, seeded


@cache
def fir(variant: int, snowy: bool) -> Image.Image:
    """A conifer of drooping branches, lit from the left, with snow on them or not."""
    rng, sheet = seeded("fir", variant), Sheet(80, 128)
    middle = 0.3125
    sheet.box(middle - 0.02, 0.86, middle + 0.02, 1.0, (78, 56, 44))
    tiers = 7 + variant % 2
    for k in range(tiers):
        share = k / (tiers - 1)
        top, half = 0.02 + 0.72 * share, 0.05 + 0.22 * share + rng.uniform(-0.01, 0.01)
        low = top + 0.17
        dark, light = ((20, 60, 46), (52, 106, 74)) if not snowy else ((38, 76, 74), (86, 124, 116))
        left = [(middle - half * t, low + 0.025 * (j % 2) - 0.02 * (1 - t)) for j, t in enumerate(np.linspace(1, 0, 9))]
        right = [
            (middle + half * t, low + 0.025 * (j % 2) - 0.02 * (1 - t)) for j, t in enumerate(np.linspace(0, 1, 9))
        ]
        sheet.polygon([(middle, top), *left, (middle, low)], mixed(light, dark, 0.25 + 0.2 * rng.random()))
        sheet.polygon([(middle, top), (middle, low), *right], dark)
        if snowy:
            cap = [
                (middle - half * t, low - 0.055 * (0.4 + t) + 0.02 * (j % 2))
                for j, t in enumerate(np.linspace(0.85, 0, 7))
            ]
            sheet.polygon([(middle, top), (middle - half * 0.86, low - 0.012), *cap], (246, 250, 255))
            cap = [
                (middle + half * t, low - 0.07 * (0.4 + t) + 0.02 * (j % 2))
                for j, t in enumerate(np.linspace(0, 0.8, 7))
            ]
            sheet.polygon([(middle, top), *cap, (middle + half * 0.82, low - 0.02)], (206, 220, 240))
    return sheet.done()


@cache
def tree(variant: int, kind: str = "green") -> Image.Image:
    """A broadleaf tree of many leaf clumps, lit from above."""
    rng, sheet = seeded("tree", variant), Sheet(128, 128)
    dark, middle, light = {
        "green": ((28, 78, 36), (64, 132, 52), (140, 194, 84)),
        "autumn": ((150, 44, 16), (222, 98, 24), (252, 184, 52)),
        "crimson": ((112, 20, 20), (196, 48, 28), (244, 120, 48)),
        "night": ((8, 14, 26), (14, 24, 38), (30, 44, 62)),
    }[kind]
    bark, lit = ((66, 46, 34), (112, 82, 60)) if kind != "night" else ((8, 10, 18), (16, 20, 32))
    sheet.polygon([(0.44, 1.0), (0.47, 0.55), (0.53, 0.55), (0.57, 1.0)], bark)
    sheet.polygon([(0.44, 1.0), (0.47, 0.55), (0.49, 0.55), (0.485, 1.0)], lit)
    for x, y in ((0.30, 0.36), (0.68, 0.34), (0.52, 0.25)):
        sheet.line([(0.5, 0.62), (x, y)], bark, 0.025)
    n = 120
    at = np.stack([rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.random(n))], 1)
    xs, ys = 0.5 + 0.41 * at[:, 1] * np.cos(at[:, 0]), 0.36 + 0.31 * at[:, 1] * np.sin(at[:, 0])
    for layer, (colour, shift, r) in enumerate(((dark, 0.03, 0.085), (middle, 0.0, 0.062), (light, -0.035, 0.036))):
        for k in np.argsort(-ys):
            x, y = float(xs[k]), float(ys[k])
            height = (0.7 - y) / 0.6
            if layer == 2 and rng.random() > 0.25 + 0.6 * height:
                continue
            tone = mixed(dark, colour, 0.55 + 0.6 * height) if layer else dark
            sheet.disc(x + rng.normal(0, 0.01), y + shift, r * rng.uniform(0.7, 1.2), tone)
    if kind != "night":
        for _ in range(150):  # single leaves catch the light
            a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
            x, y = 0.5 + 0.43 * r * np.cos(a), 0.34 + 0.32 * r * np.sin(a)
            sheet.disc(x, y, rng.uniform(0.006, 0.014), mixed(middle, light, rng.random() * 1.2 - (y - 0.2)))
    return sheet.done()


@cache
def bush(variant: int, dark: RGB = (30, 84, 40), light: RGB = (120, 176, 76)) -> Image.Image:
    """A round shrub."""
    rng, sheet = seeded("bush", variant), Sheet(128, 72)
    for k in range(70):
        t = k / 70
        x, y = (
            rng.uniform(0.15, 1.63),
            0.95 - 0.75 * rng.random() * np.sqrt(max(0.05, 1 - (rng.uniform(-0.8, 0.8)) ** 2)),
        )
        x = 0.89 + (x - 0.89) * (0.6 + 0.4 * y)
        sheet.disc(x, y, 0.11 - 0.05 * t, mixed(dark, light, t * 0.9 * (1.2 - y)))
    return sheet.done()


@cache
def leaf(kind: str, variant: int) -> Image.Image:
    """A big jungle leaf that hangs from its upper end: "blade", "split" (monstera) or "fern"."""
    rng, sheet = seeded("leaf" + kind, variant), Sheet(96, 128)
    hue = rng.random()
    dark, light = mixed((8, 66, 34), (28, 84, 20), hue), mixed((40, 150, 66), (112, 178, 52), hue)
    if kind == "fern":
        stem = [(0.375 + 0.06 * np.sin(3 * t), t) for t in np.linspace(0.02, 0.97, 20)]
        for k, (x, y) in enumerate(stem[1:]):
            length = 0.32 * np.sin(np.pi * (k + 1.5) / 21) ** 0.7
            for side in (-1, 1):
                tip = (x + side * length, y + 0.45 * length)
                shape = [
                    (x, y - 0.016),
                    (x + side * 0.5 * length, y + 0.10 * length),
                    tip,
                    (x + side * 0.4 * length, y + 0.40 * length),
                    (x, y + 0.02),
                ]
                sheet.polygon(shape, light if side < 0 else mixed(dark, light, 0.5))
        sheet.line(stem, dark, 0.014)
        return sheet.done()
    ts = np.linspace(0, 1, 25)
    width = (0.20 if kind == "blade" else 0.34) * np.sin(np.pi * ts**0.75) ** 0.8
    left, right = (
        [(0.375 - w, 0.02 + 0.95 * t) for w, t in zip(width, ts)],
        [(0.375 + w, 0.02 + 0.95 * t) for w, t in zip(width, ts)],
    )
    sheet.polygon([*left, (0.375, 0.97), (0.375, 0.02)], light)
    sheet.polygon([*right, (0.375, 0.97), (0.375, 0.02)], mixed(dark, light, 0.45))
    for k in range(3, 23, 2 if kind == "blade" else 3):
        for side in (-1, 1):
            w = width[k]
            end = (0.375 + side * w * 1.02, 0.02 + 0.95 * ts[k] + 0.05)
            start = (0.375, 0.02 + 0.95 * ts[k] - 0.03)
            if kind == "split":
                sheet.polygon(
                    [(0.375 + side * 0.4 * w, start[1] + 0.03), end, (end[0] + side * 0.01, end[1] + 0.045)],
                    (0, 0, 0, 0),
                )
            sheet.line([start, end], mixed(light, (210, 240, 160), 0.35) if side < 0 else dark, 0.008)
    sheet.line([(0.375, 0.0), (0.375, 0.96)], mixed(light, (220, 244, 170), 0.5), 0.016)
    return sheet.done()


@cache
def frond(variant: int) -> Image.Image:
    """Ferns that stand in a clump and bend outwards."""
    side = 150
    clump = Image.new("RGBA", (2 * side, side))
    for turn in (62, -62, 38, -38, 14, -14):
        blade = leaf("fern", (variant + turn) % 3).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        canvas = Image.new("RGBA", (2 * side, 2 * side))
        canvas.paste(blade, (side - blade.width // 2, side - blade.height))
        canvas = canvas.rotate(turn, Image.Resampling.BICUBIC)
        clump.alpha_composite(canvas.crop((0, 0, 2 * side, side)))
    return clump.crop(clump.getbbox())


@cache
def tuft(variant: int, dark: RGB = (38, 104, 30), light: RGB = (142, 204, 76)) -> Image.Image:
    """A tuft of grass."""
    rng, sheet = seeded("tuft", variant), Sheet(128, 64)
    for k in range(26):
        x, lean, high = rng.uniform(0.3, 1.7), rng.normal(0, 0.16), rng.uniform(0.35, 0.95)
        tone = mixed(dark, light, k / 26 + rng.normal(0, 0.15))
        sheet.polygon(
            [
                (x - 0.03, 1.0),
                (x + lean * 0.4 - 0.012, 1 - 0.6 * high),
                (x + lean, 1 - high),
                (x + lean * 0.4 + 0.02, 1 - 0.6 * high),
                (x + 0.03, 1.0),
            ],
            tone,
        )
    return sheet.done()


@cache
def wheat(variant: int) -> Image.Image:
    """A few stalks of ripe wheat with bearded ears."""
    rng, sheet = seeded("wheat", variant), Sheet(84, 128)
    for k in range(7):
        x, lean, top = rng.uniform(0.14, 0.52), rng.normal(0, 0.07), rng.uniform(0.05, 0.3)
        tone = mixed((176, 122, 34), (252, 214, 104), k / 7 + rng.normal(0, 0.1))
        stalk = [(x, 1.0), (x + lean * 0.4, 0.6), (x + lean, top + 0.2)]
        sheet.line(stalk, mixed(tone, (150, 110, 40), 0.4), 0.012)
        for j in range(8):
            y = top + 0.025 * j
            for side in (-1, 1):
                cx = x + lean + side * 0.017
                sheet.ellipse(
                    cx - 0.017,
                    y - 0.004,
                    cx + 0.017,
                    y + 0.036,
                    mixed(tone, (255, 240, 170), 0.5 if side < 0 else 0.0),
                )
                sheet.line([(cx, y), (cx + side * 0.05, y - 0.075)], mixed(tone, (255, 236, 160), 0.3), 0.004)
    return sheet.done()


@cache
def sunflower(variant: int) -> Image.Image:
    """A sunflower on its stalk with leaves."""
    rng, sheet = seeded("sunflower", variant), Sheet(72, 128)
    x, y, r = 0.28, 0.26, 0.22
    sheet.line([(x, y), (x + 0.02, 0.65), (x - 0.01, 1.0)], (62, 120, 40), 0.03)
    for side, at in ((-1, 0.62), (1, 0.72), (-1, 0.84)):
        sheet.polygon(
            [(x, at), (x + side * 0.12, at - 0.09), (x + side * 0.25, at - 0.02), (x + side * 0.12, at + 0.04)],
            (72, 142, 48),
        )
        sheet.line([(x, at), (x + side * 0.22, at - 0.025)], (130, 186, 84), 0.008)
    for ring, (tone, length) in enumerate((((226, 150, 10), 1.0), ((255, 204, 22), 0.9))):
        for k in range(17):
            a = 2 * np.pi * (k + 0.5 * ring) / 17 + rng.normal(0, 0.04)
            c, s, w = np.cos(a), np.sin(a), 0.045
            far = r * length * rng.uniform(0.92, 1.08)
            sheet.polygon(
                [
                    (x - s * w * 0.4, y + c * w * 0.4),
                    (x + c * far * 0.6 - s * w, y + s * far * 0.6 + c * w),
                    (x + c * far, y + s * far),
                    (x + c * far * 0.6 + s * w, y + s * far * 0.6 - c * w),
                    (x + s * w * 0.4, y - c * w * 0.4),
                ],
                tone,
            )
    sheet.disc(x, y, r * 0.50, (84, 48, 18))
    sheet.disc(x, y, r * 0.34, (58, 32, 14))
    for _ in range(50):
        a, q = rng.uniform(0, 2 * np.pi), r * 0.48 * np.sqrt(rng.random())
        sheet.disc(x + q * np.cos(a), y + q * np.sin(a), 0.007, (150, 98, 40))
    return sheet.done()


@cache
def flower(variant: int) -> Image.Image:
    """A small meadow flower."""
    colours = ((255, 255, 255), (255, 232, 90), (236, 110, 160), (150, 120, 232), (238, 70, 60))
    sheet, tone = Sheet(48, 64), colours[variant % 5]
    sheet.line([(0.38, 0.3), (0.38, 1.0)], (58, 130, 44), 0.04)
    for k in range(6):
        a = k * np.pi / 3
        sheet.disc(0.38 + 0.17 * np.cos(a), 0.3 + 0.17 * np.sin(a), 0.13, tone)
    sheet.disc(0.38, 0.3, 0.10, (250, 190, 40))
    return sheet.done()


@cache
def palm(variant: int) -> Image.Image:
    """A coconut palm that leans."""
    rng, sheet = seeded("palm", variant), Sheet(128, 128)
    trunk = [(0.42 + 0.16 * t**2, 1.0 - 0.70 * t) for t in np.linspace(0, 1, 14)]
    for k, (x, y) in enumerate(trunk):
        w = 0.028 - 0.0009 * k
        sheet.ellipse(x - w, y - 0.035, x + w, y + 0.035, (150, 112, 72) if k % 2 else (126, 92, 58))
    top = (0.58, 0.30)
    for k, angle in enumerate(np.linspace(-3.5, 0.4, 9)):
        length, droop = rng.uniform(0.34, 0.42), 0.26 + 0.1 * abs(np.cos(angle))
        rib = [
            (top[0] + np.cos(angle) * length * t, top[1] + np.sin(angle) * length * t * 0.7 + droop * t**2)
            for t in np.linspace(0, 1, 9)
        ]
        tone = mixed((24, 96, 44), (110, 178, 62), k / 9 + rng.normal(0, 0.1))
        for (x0, y0), (x1, y1) in pairwise(rib):
            sheet.polygon([(x0, y0 - 0.016), (x1, y1 - 0.012), (x1 - 0.01, y1 + 0.085), (x0 - 0.012, y0 + 0.05)], tone)
        sheet.line(rib, mixed(tone, (220, 240, 150), 0.4), 0.008)
    for dx in (-0.03, 0.02):
        sheet.disc(top[0] + dx, top[1] + 0.035, 0.03, (96, 64, 36))
    return sheet.done()
