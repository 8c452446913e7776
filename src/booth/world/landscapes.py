"""Wide places: snow, beach, mountains, night and the desert."""

import numpy as np

from booth.world import plants, stamps, textures
from booth.world.light import Ground, Light
from booth.world.noise import fractal_noise, jitter, mix, value_noise
from booth.world.outdoors import distant, sun_side, tufts
from booth.world.painting import (
    COLUMNS,
    ROWS,
    SIDE,
    Brush,
    Painted,
    Rng,
    clear_layer,
    drawn,
    gradient,
    join,
    lie,
    recoloured,
    ridge,
    scatter,
    scene,
    sky,
    spread,
    stamped,
    standing_nearness,
    tint,
)


@scene("snow")
def snow(rng: Rng) -> Painted:
    horizon = rng.uniform(0.42, 0.56)
    dusk = rng.random() < 0.3
    top, low = ((118, 158, 206), (226, 234, 244)) if not dusk else ((124, 132, 190), (250, 214, 206))
    picture = gradient(jitter(rng, top, 10), jitter(rng, low, 6), 0, horizon)
    picture = distant(picture, tint(rng, (164, 186, 214), 8), ridge(rng, horizon + 0.02, rng.uniform(0.12, 0.3), 4))
    picture = join(picture, (206, 218, 236), ridge(rng, horizon + 0.03, 0.1, 3))
    ground = lie(textures.snow, rng, horizon, 0.5)
    picture = join(picture, ground, horizon + 0.025 * value_noise(rng, SIDE, 1, 5)[:1])
    pieces = []
    for x in np.concatenate([rng.uniform(-6, 134, 9)]):
        y = (horizon + rng.uniform(-0.01, 0.10)) * SIDE
        near = (y / SIDE - horizon + 0.03) / 0.13
        pieces.append(
            (plants.fir(int(rng.integers(4)), True), x, y, rng.uniform(16, 26) + 26 * near, bool(rng.integers(2)))
        )
    if rng.random() < 0.5:
        pieces.append(
            (
                plants.fir(int(rng.integers(4)), True),
                rng.choice((4, 124)) + rng.uniform(-6, 6),
                rng.uniform(92, 112),
                84,
                False,
            )
        )
    picture = stamped(picture, sorted(pieces, key=lambda p: p[2]))

    def flakes(draw: Brush) -> None:
        for x, y, r in zip(rng.uniform(0, SIDE, 42), rng.uniform(0, SIDE, 42), rng.uniform(0.5, 1.5, 42), strict=True):
            draw.disc(x, y, r, (255, 255, 255, 235))

    light = Light(sun_side(rng), 0.7, (0.95, 0.98, 1.04), 0.9, (1.0, 0.99, 0.96), (0.52, 0.60, 0.80), 0.75, 0.6, 0.7)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 4.5, "mound"), clear_layer(flakes))


@scene("beach")
def beach(rng: Rng) -> Painted:
    line, shore = rng.uniform(0.30, 0.40), rng.uniform(0.52, 0.60)
    side = sun_side(rng)
    picture = sky(rng, end=line + 0.1, clouds=0.9)
    depth = np.clip((ROWS - line) / (shore - line), 0, 1)
    sea = mix(jitter(rng, (16, 92, 168), 8), jitter(rng, (92, 206, 214), 8), spread(depth**1.3))
    chop = np.sin(ROWS * 90 / (0.35 + depth) + 3 * value_noise(rng, SIDE, 14, 5)) * 0.5 + 0.5
    sea = mix(sea, (232, 250, 252), np.clip(chop - 0.72, 0, 1) * (0.9 - 0.4 * depth))
    picture = join(picture, sea, line)
    sand = lie(textures.sand, rng, shore - 0.12, 0.5)
    edge = (
        shore
        + 0.018 * np.sin(COLUMNS * rng.uniform(6, 11) + rng.uniform(0, 6))
        + 0.008 * value_noise(rng, SIDE, 1, 14)[:1]
    )
    wet = np.clip(1 - (ROWS - edge) / 0.07, 0, 1) * (edge < ROWS)
    picture = join(picture, mix(sand, (170, 132, 92), 0.75 * wet), edge)
    foam = np.clip(1 - np.abs(ROWS - edge + 0.006) / (0.014 + 0.006 * value_noise(rng, SIDE, 1, 24)[:1]), 0, 1)
    second = np.clip(1 - np.abs(ROWS - edge + 0.06 + 0.01 * np.sin(COLUMNS * 9)) / 0.007, 0, 1) * 0.8
    picture = mix(picture, (255, 255, 255), spread(np.maximum(foam, second)))
    pieces = []
    if rng.random() < 0.6:
        pieces.append(
            (
                plants.palm(int(rng.integers(3))),
                rng.choice((8, 120)) + rng.uniform(-6, 6),
                rng.uniform(76, 92),
                rng.uniform(66, 84),
                bool(rng.integers(2)),
            )
        )
    picture = stamped(picture, pieces)

    def shells(draw: Brush) -> None:
        for x, y in scatter(rng, int(rng.integers(2, 8)), shore + 0.08, 0.98):
            r = 0.8 + 2.2 * (y / SIDE - shore) / (1 - shore)
            draw.ellipse((x - r, y - r * 0.2, x + r, y + r), (150, 116, 84, 140))
            draw.disc(x, y - 0.2 * r, r * 0.8, tint(rng, (246, 224, 204), 14))
            draw.disc(x + 0.2 * r, y - 0.1 * r, r * 0.35, (216, 160, 138))
        if rng.random() < 0.5:  # a sail far out
            x, y = rng.uniform(20, 108), line * SIDE
            draw.polygon([(x, y - 9), (x, y - 1), (x + 5, y - 1)], (255, 255, 255))
            draw.polygon([(x - 1, y - 7), (x - 1, y - 1), (x - 4, y - 1)], (250, 236, 226))
            draw.polygon([(x - 4, y), (x + 6, y), (x + 4, y + 2), (x - 3, y + 2)], (196, 84, 60))

    light = Light(side, 0.9, (1.04, 1.0, 0.94), 1.0, (1.0, 0.97, 0.88), (0.46, 0.40, 0.42), 0.8, 0.62, 0.7)
    return Painted(drawn(picture, shells), standing_nearness(shore), light, Ground(shore, 2.2, "mound"))


@scene("mountain")
def mountain(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.58, 0.68), sun_side(rng)
    picture = sky(rng, end=horizon, clouds=0.9)
    picture = distant(picture, tint(rng, (138, 158, 192), 8), ridge(rng, horizon - 0.06, rng.uniform(0.16, 0.28), 5))
    rock, lit = np.array(tint(rng, (92, 98, 122), 10)), np.array((176, 172, 182))
    for x, top, half in (
        (rng.uniform(0.08, 0.3), rng.uniform(0.14, 0.26), 0.5),
        (rng.uniform(0.68, 0.95), rng.uniform(0.12, 0.26), 0.5),
        (rng.uniform(0.36, 0.64), rng.uniform(0.04, 0.12), 0.56),
    ):
        rough = 0.045 * value_noise(rng, SIDE, 1, 12)[:1] + 0.025 * value_noise(rng, SIDE, 1, 30)[:1]
        outline = top + np.abs(COLUMNS - x) / half * (horizon - top) + rough * np.clip(np.abs(COLUMNS - x) * 8, 0, 1)
        # Ribs run down from the summit; each has a lit and a dark side.
        folds = fractal_noise(rng, SIDE, 5, 3) + 0.9 * np.sin((COLUMNS - x) * 34 + 6 * fractal_noise(rng, SIDE, 3, 2))
        towards = (x - COLUMNS) * side * -26 + 1.1 * folds
        body = mix(rock * 0.72, lit, np.clip(0.5 + 0.5 * towards, 0, 1))
        snowline = top + 0.17 + 0.06 * folds
        cap = np.clip((snowline - ROWS) * 30, 0, 1)
        snowed = mix((176, 194, 226), (255, 255, 255), np.clip(0.6 + 0.6 * towards, 0, 1))
        body = mix(body, snowed, cap)
        body = mix(body, (150, 170, 196), np.clip((ROWS - horizon + 0.2) * 2.6, 0, 0.6) + 0 * COLUMNS)
        picture = join(picture, body, np.minimum(outline, horizon + 0.02))
    meadow = lie(textures.grass, rng, horizon, 0.7)
    picture = join(
        picture,
        mix(meadow, (196, 206, 150), spread(np.clip(0.45 - (ROWS - horizon) * 2, 0, 1))),
        horizon + 0.012 * value_noise(rng, SIDE, 1, 6)[:1],
    )
    pieces = [
        (
            plants.fir(int(rng.integers(4)), False),
            x,
            (horizon + rng.uniform(0.0, 0.035)) * SIDE,
            rng.uniform(9, 20),
            False,
        )
        for x in rng.uniform(-4, 132, 20)
    ]
    picture = tufts(
        rng,
        stamped(picture, sorted(pieces, key=lambda p: p[2])),
        16,
        horizon + 0.06,
        high=13,
        flowers=int(rng.integers(3, 12)),
    )
    light = Light(side, 0.8, (1.0, 1.0, 0.99), 1.0, (1.0, 0.98, 0.9), (0.32, 0.38, 0.34), 0.78, 0.55, 0.65)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 3.5, "blades"))


@scene("night")
def night(rng: Rng) -> Painted:
    horizon = rng.uniform(0.60, 0.70)
    side = float(rng.choice((-1, 1)))
    x, y, r = SIDE * (0.5 + side * rng.uniform(0.25, 0.40)), rng.uniform(15, 34), rng.uniform(8, 12)
    picture = gradient(jitter(rng, (7, 10, 38), 5), jitter(rng, (40, 58, 122), 8), 0, horizon)
    band = np.exp(-(((ROWS - 0.35 + 0.5 * (COLUMNS - 0.5) * rng.choice((-1, 1))) / 0.16) ** 2)) * (
        0.6 + 0.4 * fractal_noise(rng, SIDE, 5, 3)
    )
    picture = mix(picture, (96, 96, 168), np.clip(band, 0, 1) * 0.34)
    near = ((COLUMNS * SIDE - x) ** 2 + (ROWS * SIDE - y) ** 2) / r**2
    picture = picture + (np.exp(-near / 9) * 0.5)[..., None] * np.array((150, 160, 200), np.float32)

    def stars(draw: Brush) -> None:
        for sx, sy in scatter(rng, 64, 0, horizon - 0.03):
            draw.disc(
                sx,
                sy,
                float(rng.choice((0.35, 0.5, 0.8), p=(0.5, 0.35, 0.15))),
                (255, 255, 236, int(rng.integers(150, 256))),
            )
        for sx, sy in scatter(rng, 3, 0.02, 0.4):
            draw.line([(sx - 2.2, sy), (sx + 2.2, sy)], (255, 255, 255, 150), 0.5)
            draw.line([(sx, sy - 2.2), (sx, sy + 2.2)], (255, 255, 255, 150), 0.5)
            draw.disc(sx, sy, 0.8, (255, 255, 255))
        draw.disc(x, y, r, (252, 246, 212))
        for cx, cy, cr in ((-0.3, -0.2, 0.22), (0.25, 0.3, 0.28), (0.35, -0.35, 0.15), (-0.2, 0.45, 0.13)):
            draw.disc(x + cx * r, y + cy * r, cr * r, (226, 216, 178))

    picture = drawn(picture, stars)
    picture = join(picture, (18, 26, 58), ridge(rng, horizon, 0.16, 4))
    picture = join(picture, (11, 17, 40), ridge(rng, horizon + 0.03, 0.09, 6))
    ground = (
        lie(textures.grass, rng, horizon, 0.6)
        * np.array((0.27, 0.36, 0.58))
        * np.clip(1.15 - 0.5 * np.abs(COLUMNS - x / SIDE), 0.4, 1.2)[..., None]
    )
    picture = join(picture, ground, horizon + 0.012 * value_noise(rng, SIDE, 1, 5)[:1])
    pieces = [
        (
            plants.tree(int(rng.integers(4)), "night"),
            tx,
            (horizon + rng.uniform(0.01, 0.05)) * SIDE,
            rng.uniform(16, 44),
            False,
        )
        for tx in rng.uniform(0, 128, int(rng.integers(1, 5)))
    ]
    pieces += [
        (
            recoloured(plants.tuft(int(rng.integers(5))), (0.27, 0.36, 0.56)),
            tx,
            ty,
            5 + 12 * (ty / SIDE - horizon) / (1 - horizon),
            False,
        )
        for tx, ty in scatter(rng, 14, horizon + 0.05, 1.1)
    ]
    picture = stamped(picture, pieces)
    light = Light(side, 0.75, (0.54, 0.60, 0.84), 1.5, (0.80, 0.88, 1.0), (0.25, 0.28, 0.40), 0.8, 0.6, 0.8)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 3.5, "blades"))


@scene("desert")
def desert(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.44, 0.54), sun_side(rng)
    evening = rng.random() < 0.4
    top, low = ((88, 156, 214), (250, 226, 176)) if not evening else ((226, 120, 84), (255, 216, 138))
    picture = gradient(jitter(rng, top, 10), jitter(rng, low, 8), 0, horizon)
    sun = (0.5 + side * rng.uniform(0.22, 0.38)) * SIDE, rng.uniform(14, 32)
    near = np.sqrt((COLUMNS * SIDE - sun[0]) ** 2 + (ROWS * SIDE - sun[1]) ** 2)
    picture = mix(picture, (255, 250, 226), np.exp(-((near / 26) ** 2)) * 0.6)
    picture = mix(picture, (255, 252, 232), np.clip(9 - near + 0.5, 0, 1))
    if rng.random() < 0.7:
        pieces = [
            (stamps.mesa(int(rng.integers(4))), x, horizon * SIDE + 3, rng.uniform(14, 30), bool(rng.integers(2)))
            for x in rng.uniform(0, 128, int(rng.integers(1, 3)))
        ]
        picture = stamped(picture, pieces)
    sand, dark = jitter(rng, (240, 178, 98), 8), jitter(rng, (188, 108, 56), 8)
    for k, (base, height) in enumerate(((horizon + 0.03, 0.10), (horizon + 0.10, 0.10))):
        crest = ridge(rng, base, height, 2 + k, 1)
        slope = np.gradient(crest[0])[None, :] * SIDE * side * -3.0
        # A dune's far side from the sun lies in shade down from its crest.
        lit = np.clip(0.62 + slope + 0.5 * (ROWS - crest), 0, 1)
        picture = join(picture, mix(dark, sand, lit), crest)
    ground = horizon + 0.16
    depth = np.clip((ROWS - ground) / (1 - ground), 0.03, 1)
    phase = rng.uniform(0, 6)
    ripples = np.sin(26 / (depth + 0.22) + 2.2 * np.sin(COLUMNS * 5 + phase) + 1.6 * value_noise(rng, SIDE, 4))
    tone = 0.66 + 0.20 * ripples * np.clip(depth * 3, 0.2, 1) + 0.1 * value_noise(rng, SIDE, 3)
    edge = ridge(rng, ground + 0.02, 0.05, 2, 1)
    picture = join(picture, mix(dark, sand * 1.03, np.clip(tone, 0, 1)), edge)
    light = Light(side, 0.7, (1.06, 0.98, 0.86), 1.15, (1.0, 0.92, 0.74), (0.46, 0.34, 0.36), 0.8, 0.7, 0.85)
    return Painted(picture, standing_nearness(horizon), light, Ground(ground - 0.02, 2.5, "mound"))
