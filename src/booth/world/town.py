"""Scenes with houses and streets."""

import numpy as np

from booth.world import plants, stamps, textures
from booth.world.light import Ground, Light
from booth.world.noise import mix, value_noise
from booth.world.outdoors import distant, sun_side, tufts
from booth.world.painting import (
    COLUMNS,
    RGB,
    ROWS,
    SIDE,
    Brush,
    Painted,
    Rng,
    drawn,
    gradient,
    join,
    lie,
    ridge,
    scene,
    shade,
    sky,
    spread,
    stamped,
    standing_nearness,
    tint,
)


@scene("city")
def city(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.64, 0.70), sun_side(rng)
    warm = rng.random() < 0.5
    top, low = ((96, 160, 228), (232, 226, 220)) if not warm else ((120, 140, 200), (255, 206, 160))
    picture = sky(rng, top, low, end=horizon, clouds=0.7)
    windows = (255, 236, 170) if warm else (206, 226, 244)

    picture = drawn(picture, lambda draw: _towers(draw, rng, horizon, side, windows))
    road = join(lie(textures.slabs, rng, horizon, 1.4) * 0.92, lie(textures.asphalt, rng, horizon, 0.8), horizon + 0.10)
    picture = join(picture, road, horizon)

    def street(draw: Brush) -> None:
        kerb = (horizon + 0.10) * SIDE
        draw.box(0, kerb - 1, SIDE, kerb + 1.6, (206, 202, 196))
        middle, vanish = horizon + 0.22, rng.uniform(-20, 0)
        for k in range(8):
            x = vanish + k * 26
            draw.polygon(
                [
                    (x, middle * SIDE),
                    (x + 13, middle * SIDE),
                    (x + 14, middle * SIDE + 2.4),
                    (x - 1, middle * SIDE + 2.4),
                ],
                (238, 232, 212),
            )

    pieces = [
        (plants.tree(int(rng.integers(4))), x, (horizon + 0.085) * SIDE, rng.uniform(16, 24), False)
        for x in rng.uniform(0, 128, int(rng.integers(2, 6)))
    ]
    picture = stamped(drawn(picture, street), pieces)
    light = Light(
        side,
        0.8,
        (1.04, 0.99, 0.94) if warm else (1.0, 1.0, 1.0),
        1.0,
        (1.0, 0.96, 0.86),
        (0.40, 0.40, 0.46),
        0.8,
        0.55,
        0.65,
    )
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon + 0.06, mirror=0.10))


def _towers(draw: Brush, rng: Rng, horizon: float, side: float, windows: RGB) -> None:
    """Three rows of them, the nearest with the darkest walls."""
    for layer in range(3):
        x = rng.uniform(-14, 0)
        while x < SIDE:
            width = rng.uniform(10, 18) + 3 * layer
            height = rng.uniform(0.26, 0.60) if layer < 2 else rng.uniform(0.12, 0.34)
            roof, foot = (horizon - height) * SIDE, horizon * SIDE
            tone = tint(rng, ((168, 180, 204), (128, 138, 166), (92, 98, 122))[layer], 16)
            draw.box(x, roof, x + width, foot, tone)
            # The side away from the light.
            dark = x + width * 0.66 if side < 0 else x
            draw.box(dark, roof, dark + width * 0.34, foot, shade(tone, 0.76))
            if layer < 2 and rng.random() < 0.35:
                draw.box(x + width * 0.3, roof - 5, x + width * 0.7, roof, shade(tone, 0.9))
                draw.line([(x + width / 2, roof - 12), (x + width / 2, roof - 5)], shade(tone, 0.7), 0.8)
            if layer:
                for wy in np.arange(roof + 3, foot - 3, 4.5):
                    for wx in np.arange(x + 2, x + width - 2, 3.4):
                        if rng.random() < 0.62:
                            draw.box(wx, wy, wx + 1.7, wy + 2.4, windows if rng.random() < 0.6 else shade(tone, 0.6))
            x += width + rng.uniform(-1, 2)


@scene("blue house")
def blue_house(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.64, 0.70), sun_side(rng)
    picture = sky(rng, (112, 176, 236), (224, 238, 248), end=horizon)
    picture = distant(picture, tint(rng, (120, 160, 120), 10), ridge(rng, horizon, 0.16, 7))
    back = [
        (plants.tree(int(rng.integers(4))), x, horizon * SIDE + 1, rng.uniform(40, 62), False)
        for x in (rng.uniform(-6, 16), rng.uniform(112, 134))
    ]
    picture = stamped(join(picture, lie(textures.grass, rng, horizon, 0.7), horizon), back)
    blue, roof_tone = (
        tint(rng, (46, 104, 206), 12),
        tint(rng, ((126, 62, 52), (86, 84, 98), (140, 92, 62))[int(rng.integers(3))], 8),
    )
    shift, door = (
        rng.uniform(-12, 12),
        tint(rng, ((190, 52, 46), (250, 244, 232), (236, 190, 70))[int(rng.integers(3))], 8),
    )
    low = horizon * SIDE + 2

    picture = drawn(picture, lambda draw: _house(draw, shift, low, side, blue, roof_tone, door))
    bushes = [
        (plants.bush(int(rng.integers(3))), 64 + shift + dx + rng.uniform(-3, 3), low + 3, rng.uniform(9, 15), False)
        for dx in (-40, -22, 24, 40)
    ]
    picture = tufts(rng, stamped(picture, bushes), 9, horizon + 0.1, high=12)
    light = Light(side, 0.9, (1.0, 1.0, 0.98), 1.0, (1.0, 0.98, 0.88), (0.30, 0.36, 0.30), 0.78, 0.55, 0.65)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon + 0.03, 2.5, "blades"))


def _house(draw: Brush, shift: float, low: float, side: float, blue: RGB, roof_tone: RGB, door: RGB) -> None:
    """Its front with the path to the door; `low` is where it stands."""
    left, right, eaves, white = 20 + shift, 108 + shift, 40, (250, 250, 248)
    draw.box(left, eaves, right, low, blue)
    for y in np.arange(eaves + 4, low, 4):  # clapboards
        draw.line([(left, y), (right, y)], shade(blue, 0.80), 0.6)
        draw.line([(left, y + 0.7), (right, y + 0.7)], shade(blue, 1.16), 0.5)
    draw.box(right - 26, 10, right - 16, 30, (156, 84, 68))
    draw.box(right - 27, 8, right - 15, 11, (120, 62, 52))
    roof = [(left - 8, eaves + 2), (left + 12, 12), (right - 12, 12), (right + 8, eaves + 2)]
    draw.polygon(roof, roof_tone)
    for k in range(1, 7):
        y = 12 + k * (eaves - 10) / 7
        reach = 20 * (k / 7)
        draw.line([(left + 12 - reach, y), (right - 12 + reach, y)], shade(roof_tone, 0.82), 0.7)
    # A gable over the door, with a round window.
    middle = (left + right) / 2
    draw.polygon([(middle - 19, eaves + 1), (middle, 17), (middle + 19, eaves + 1)], shade(blue, 1.08))
    draw.line([(middle - 21, eaves + 2), (middle, 15.5), (middle + 21, eaves + 2)], white, 2)
    draw.disc(middle, 31, 4.4, white)
    draw.disc(middle, 31, 3, (150, 196, 226))
    draw.box(left - 8, eaves + 1, right + 8, eaves + 4, white)
    for x in (left + 7, right - 27):
        draw.box(x, 50, x + 20, 72, white)
        draw.box(x + 2, 52, x + 18, 70, (158, 204, 232))
        draw.polygon([(x + 2, 62), (x + 12, 52), (x + 18, 52), (x + 2, 69)], (206, 232, 246))
        draw.box(x + 9.2, 52, x + 10.8, 70, white)
        draw.box(x + 2, 60.2, x + 18, 61.8, white)
        draw.box(x - 1, 72, x + 21, 75, shade(white, 0.86))
        for k in range(5):
            draw.disc(x + 2 + k * 4, 71.5, 2.0, ((236, 92, 120), (250, 200, 80))[k % 2])
    draw.box(middle - 9, 54, middle + 9, low, white)
    draw.box(middle - 7, 56, middle + 7, low, door)
    draw.box(middle - 4.5, 59, middle + 4.5, 67, (158, 204, 232))
    draw.disc(middle + 4.6, 74, 1.1, (246, 214, 110))
    dark = (right - 20, right) if side < 0 else (left, left + 20)
    draw.box(dark[0], eaves + 4, dark[1], low, (10, 20, 60, 46))
    draw.box(left, eaves + 4, right, eaves + 8, (10, 20, 60, 60))
    draw.polygon([(middle - 8, low), (middle + 8, low), (middle + 26, SIDE), (middle - 30, SIDE)], (214, 200, 178))
    for k in range(7):
        y = low + (SIDE - low) * (k / 7) ** 1.4
        draw.line([(middle - 8 - 22 * k / 7, y), (middle + 8 + 18 * k / 7, y)], (176, 160, 138), 0.8)


@scene("eiffel tower")
def eiffel_tower(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.66, 0.73), sun_side(rng)
    top, low = (((96, 166, 236), (226, 236, 246)), ((146, 150, 214), (255, 212, 186)))[int(rng.random() < 0.4)]
    picture = sky(rng, top, low, end=horizon)

    def roofs(draw: Brush) -> None:
        for x in range(-4, SIDE, 9):
            h = rng.uniform(6, 12)
            draw.box(x, horizon * SIDE - h, x + 9, horizon * SIDE, tint(rng, (214, 204, 194), 8))
            draw.box(x, horizon * SIDE - h - 2.5, x + 9, horizon * SIDE - h, tint(rng, (126, 136, 156), 8))

    picture = drawn(picture, roofs)
    picture = join(picture, lie(textures.grass, rng, horizon, 0.8), horizon)
    x = rng.uniform(34, 94)
    height = rng.uniform(84, 92)
    pieces = [
        (plants.tree(int(rng.integers(4))), tx, horizon * SIDE + rng.uniform(1, 3), rng.uniform(9, 15), False)
        for tx in rng.uniform(0, 128, 16)
    ]
    front = [
        (plants.bush(int(rng.integers(3))), tx, horizon * SIDE + 4, rng.uniform(5, 8), False)
        for tx in rng.uniform(0, 128, 7)
    ]
    picture = stamped(picture, [*pieces, (stamps.tower(), x, horizon * SIDE + 3, height, False), *front])
    depth = np.clip((ROWS - horizon - 0.02) / (0.98 - horizon), 0, 1)
    path = np.clip(
        (0.035 + 0.24 * depth - np.abs(COLUMNS - x / SIDE - (0.5 - x / SIDE) * depth)) * SIDE * 0.8, 0, 1
    ) * (depth > 0)
    picture = mix(picture, lie(textures.sand, rng, horizon, 0.8) * np.array((0.97, 0.95, 0.92)), path)
    light = Light(side, 0.85, (1.0, 1.0, 0.99), 1.0, (1.0, 0.97, 0.88), (0.34, 0.36, 0.34), 0.78, 0.55, 0.65)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon + 0.03))


@scene("sidewalk")
def sidewalk(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.58, 0.64), sun_side(rng)
    picture = gradient((196, 188, 178), (168, 158, 150))

    def shops(draw: Brush) -> None:
        x = rng.uniform(-26, 0)
        while x < SIDE:
            w = rng.uniform(26, 38)
            wall = tint(
                rng,
                ((186, 108, 84), (216, 196, 164), (150, 164, 172), (200, 170, 130), (132, 112, 124))[
                    int(rng.integers(5))
                ],
                12,
            )
            awning = tint(rng, ((206, 60, 54), (44, 112, 96), (52, 88, 160), (228, 164, 56))[int(rng.integers(4))], 12)
            low = horizon * SIDE
            draw.box(x, 0, x + w, low, wall)
            for wx in np.arange(x + 3, x + w - 7, 9):
                draw.box(wx, -2, wx + 6, 11, shade(wall, 0.7))
                draw.box(wx + 0.7, -2, wx + 5.3, 10, (146, 178, 198))
            draw.box(x + 2, 34, x + w - 2, low, shade(wall, 0.55))
            draw.box(x + 3.5, 36, x + w * 0.62, low - 6, (206, 220, 216))
            draw.polygon([(x + 3.5, 56), (x + w * 0.35, 36), (x + w * 0.52, 36), (x + 3.5, low - 8)], (230, 240, 236))
            draw.box(x + w * 0.68, 38, x + w - 4, low, shade(awning, 0.6))
            for k in range(6):
                part = x + (w * k) / 6, x + w * (k + 1) / 6
                draw.polygon(
                    [(part[0] + 1, 20), (part[1] + 1, 20), (part[1] - 1, 33), (part[0] - 1, 33)],
                    awning if k % 2 else (248, 244, 236),
                )
            draw.box(x, 14, x + w, 20, shade(awning, 0.75))
            x += w

    picture = drawn(picture, shops)
    picture = join(picture, lie(textures.slabs, rng, horizon - 0.1, 1.5), horizon)
    pieces = []
    for n, share in ((9, 0.0), (7, 0.35), (5, 0.8)):
        for x in np.linspace(-4, 132, n) + rng.uniform(-7, 7, n):
            foot = (horizon + 0.02 + 0.075 * share) * SIDE + rng.uniform(-1, 1)
            pieces.append(
                (
                    stamps.person(int(rng.integers(24))),
                    x,
                    foot,
                    36 + 15 * share + rng.uniform(-2, 3),
                    bool(rng.integers(2)),
                )
            )
    picture = stamped(picture, sorted(pieces, key=lambda p: p[2]))
    low = spread(np.exp(-(((ROWS - horizon - 0.06) / 0.035) ** 2)) * 0.30)
    below = spread((horizon + 0.02 < ROWS).astype(np.float32))
    picture = picture * (1 - low * below * (0.6 + 0.4 * value_noise(rng, SIDE, 1, 18)))[..., None]
    light = Light(side, 0.9, (1.0, 0.99, 0.97), 1.0, (1.0, 0.98, 0.92), (0.42, 0.40, 0.44), 0.82, 0.5, 0.6)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon + 0.10))
