"""Where there is no ground: water, milk, the deep sea and space."""

import numpy as np

from booth.world import stamps, textures
from booth.world.light import Ground, Light
from booth.world.noise import fractal_noise, jitter, mix, value_noise
from booth.world.outdoors import sun_side
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
    ridge,
    scatter,
    scene,
    sky,
    spread,
    stamped,
    tint,
)


def _sea(rng: Rng, horizon: float, deep, shallow, crest, glint: float) -> np.ndarray:
    """Waves in perspective below the horizon, each with a dark front, a lit back and a crest."""
    depth = np.clip((ROWS - horizon) / (1 - horizon), 0.02, 1)
    across = (COLUMNS - 0.5) / (depth + 0.25)
    away = 7.5 / (depth + 0.16)
    swell = np.sin(away * 2.3 + 0.9 * np.sin(across * 3.1 + rng.uniform(0, 6)) + 1.1 * value_noise(rng, SIDE, 9, 4))
    chop = np.sin(away * 5.1 + 2.0 * np.sin(across * 6.3 + rng.uniform(0, 6)) + 1.6 * value_noise(rng, SIDE, 16, 7))
    height = (swell + 0.55 * chop) / 1.55
    tone = np.clip(0.5 + 0.5 * height, 0, 1)
    picture = mix(deep, shallow, tone * (0.45 + 0.55 * depth))
    crests = np.clip((height - 0.62) * 4, 0, 1) * np.clip(0.55 + 0.6 * value_noise(rng, SIDE, 20, 9), 0, 1)
    return mix(picture, crest, crests * glint)


@scene("water")
def water(rng: Rng) -> Painted:
    horizon = float(rng.choice((-0.12, rng.uniform(0.14, 0.30)), p=(0.35, 0.65)))
    side, evening = sun_side(rng), rng.random() < 0.25
    deep, shallow, crest = (14, 78, 148), (64, 164, 216), (226, 246, 252)
    if evening:
        deep, shallow, crest = (44, 62, 130), (226, 148, 132), (255, 226, 190)
    elif rng.random() < 0.35:
        deep, shallow = (10, 104, 128), (76, 196, 196)
    picture = _sea(rng, horizon, jitter(rng, deep, 8), jitter(rng, shallow, 8), crest, 0.85)
    if horizon > 0:
        above = sky(
            rng,
            *(((150, 140, 206), (255, 206, 168)) if evening else ((84, 158, 232), (214, 234, 248))),
            end=horizon + 0.02,
        )
        if rng.random() < 0.5:
            above = join(above, tint(rng, (96, 128, 150), 10), ridge(rng, horizon + 0.01, 0.10, 4))
        picture = join(above, picture, horizon)
        picture = mix(picture, crest, spread(np.exp(-(((ROWS - horizon) / 0.02) ** 2)) * 0.5))
    light = Light(side, 0.8, (0.98, 1.0, 1.03), 1.0, (1.0, 0.98, 0.9), (0.22, 0.34, 0.46))
    return Painted(
        picture, spread(0.15 + 0.55 * ROWS), light, Ground(max(horizon, 0.0) + 0.12, mirror=0.62, ripple=2.2)
    )


@scene("milk")
def milk(rng: Rng) -> Painted:
    horizon = float(rng.choice((-0.12, rng.uniform(0.12, 0.26)), p=(0.4, 0.6)))
    deep, shallow = jitter(rng, (212, 206, 196), 4), jitter(rng, (254, 250, 240), 2)
    depth = np.clip((ROWS - horizon) / (1 - horizon), 0.02, 1)
    across = (COLUMNS - 0.5) / (depth + 0.3)
    # Milk is thick: broad, round, smooth waves.
    swell = np.sin(
        5.0 / (depth + 0.2) * 2.0 + 1.4 * np.sin(across * 2.4 + rng.uniform(0, 6)) + 1.2 * value_noise(rng, SIDE, 6, 4)
    )
    picture = mix(deep, shallow, 0.5 + 0.5 * swell)
    down: np.ndarray = np.gradient(swell.astype(np.float32), axis=0)
    picture = mix(picture, (255, 255, 255), np.clip(-down * 5 - 0.2, 0, 1) * 0.9)
    picture = mix(picture, (186, 178, 176), np.clip(down * 4 - 0.35, 0, 1) * 0.45)
    if horizon > 0:
        above = gradient(jitter(rng, (250, 214, 196), 8), jitter(rng, (255, 246, 232), 4), 0, horizon)
        picture = join(above, picture, horizon)

    def drops(draw: Brush) -> None:
        for x, y in scatter(rng, int(rng.integers(3, 10)), max(horizon, 0) + 0.06, 0.95):
            r = 0.8 + 2.2 * y / SIDE
            draw.ellipse((x - r, y - 0.2 * r, x + r, y + 1.1 * r), (190, 182, 176, 150))
            draw.disc(x, y, r * 0.86, (255, 253, 248))
            draw.disc(x - 0.25 * r, y - 0.3 * r, r * 0.3, (255, 255, 255))

    light = Light(sun_side(rng), 0.8, (1.02, 1.0, 0.97), 0.9, (1.0, 1.0, 0.97), (0.62, 0.57, 0.55))
    return Painted(
        drawn(picture, drops),
        spread(0.15 + 0.55 * ROWS),
        light,
        Ground(max(horizon, 0.0) + 0.12, mirror=0.34, ripple=1.4),
    )


@scene("underwater")
def underwater(rng: Rng) -> Painted:
    top, low = jitter(rng, (66, 190, 220), 10), jitter(rng, (6, 56, 118), 8)
    picture = gradient(top, low)
    slant = COLUMNS + rng.uniform(-0.5, 0.5) * ROWS
    rays = (
        np.clip(np.sin(slant * 17 + rng.uniform(0, 6)) + np.sin(slant * 29 + rng.uniform(0, 6)) - 0.2, 0, 2)
        * np.clip(1 - ROWS * 1.15, 0, 1)
        * 0.24
    )
    picture = mix(picture, (206, 250, 252), rays)
    picture = join(picture, mix(low, top, 0.28 + 0 * ROWS) * 0.8, ridge(rng, 0.92, 0.22, 4))
    bottom = ridge(rng, 0.88, 0.05, 3)
    caustics = np.clip(
        1
        - np.abs(np.sin(9 * COLUMNS / (ROWS + 0.05) + 3 * value_noise(rng, SIDE, 6)) + value_noise(rng, SIDE, 12))
        * 2.2,
        0,
        1,
    )
    sand = mix(
        lie(textures.sand, rng, 0.70, 0.6) * np.array((0.62, 0.86, 0.82), np.float32), (226, 250, 226), caustics * 0.5
    )
    picture = join(picture, sand, bottom)
    pieces = [
        (
            stamps.rock(int(rng.integers(3)), (40, 74, 96), (96, 140, 150)),
            x,
            rng.uniform(118, 126),
            rng.uniform(10, 22),
            False,
        )
        for x in rng.choice((6, 30, 98, 122), 2)
    ]
    for x in np.concatenate([rng.uniform(-4, 34, 4), rng.uniform(94, 132, 4)]):
        pieces.append(
            (stamps.coral(int(rng.integers(12))), x, rng.uniform(116, 127), rng.uniform(16, 44), bool(rng.integers(2)))
        )
    picture = stamped(picture, pieces)

    def bubbles(draw: Brush) -> None:
        for x, y in scatter(rng, 13, 0, 0.9):
            r = rng.uniform(1.0, 3.2)
            draw.ellipse((x - r, y - r, x + r, y + r), (220, 250, 255, 60), (230, 252, 255, 210), 0.6)
            draw.disc(x - 0.35 * r, y - 0.35 * r, 0.25 * r, (255, 255, 255, 230))

    red, green, blue = (float(c) / 255 for c in (top * 0.35 + low * 0.65))
    light = Light(float(rng.choice((-0.4, 0.4))), 1.0, (0.80, 0.98, 1.04), 1.0, (0.86, 1.0, 1.0))
    ground = Ground(0.0, haze=0.16, haze_colour=(red, green, blue))
    return Painted(picture, spread(0.1 + 0.4 * ROWS**3), light, ground, clear_layer(bubbles))


@scene("space")
def space(rng: Rng) -> Painted:
    hue = ((112, 40, 150), (36, 86, 160), (160, 50, 96), (30, 120, 120))[int(rng.integers(4))]
    other = ((40, 60, 150), (130, 40, 130), (40, 110, 140), (90, 40, 150))[int(rng.integers(4))]
    picture = gradient((5, 4, 18), (10, 8, 30))
    for tone, amount in ((hue, 1.0), (other, 0.8)):
        cloud = np.clip(fractal_noise(rng, SIDE, 2, 5) * 1.7, 0, 1) ** 1.4
        picture = mix(picture, jitter(rng, tone, 16), cloud * amount * 0.85)
    picture = mix(picture, (255, 226, 236), np.clip(fractal_noise(rng, SIDE, 3, 4) * 2 - 0.85, 0, 1) * 0.5)
    side = float(rng.choice((-1, 1)))
    planet, ringed = (
        tint(rng, ((206, 128, 80), (92, 140, 206), (196, 92, 96), (222, 190, 130))[int(rng.integers(4))], 16),
        rng.random() < 0.5,
    )
    x, y, r = (
        float(rng.choice((14, 114)) + rng.uniform(-8, 8)),
        float(rng.choice((16, 108)) + rng.uniform(-8, 8)),
        rng.uniform(10, 20),
    )

    def stars(draw: Brush) -> None:
        for sx, sy in scatter(rng, 80, 0, 1):
            draw.disc(
                sx,
                sy,
                float(rng.choice((0.35, 0.55, 0.9), p=(0.5, 0.37, 0.13))),
                (255, 255, 255, int(rng.integers(130, 256))),
            )
        for sx, sy in scatter(rng, 4, 0, 1):
            for dx, dy in ((2.6, 0), (0, 2.6)):
                draw.line([(sx - dx, sy - dy), (sx + dx, sy + dy)], (220, 230, 255, 160), 0.5)
            draw.disc(sx, sy, 0.9, (255, 255, 255))

    picture = drawn(picture, stars)
    dx, dy = (COLUMNS * SIDE - x) / r, (ROWS * SIDE - y) / r
    inside = np.clip((1 - np.sqrt(dx**2 + dy**2)) * r + 0.5, 0, 1)
    z = np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1))
    lit = np.clip(0.12 + 1.05 * (0.75 * side * dx - 0.35 * dy + 0.56 * z), 0.05, 1.2)
    bands = 1 + 0.16 * np.sin(dy * 9 + 1.2 * value_noise(rng, SIDE, 8))
    picture = mix(picture, np.array(planet, np.float32) * (lit * bands)[..., None], inside)
    if ringed:
        reach = np.sqrt((dx + 0.3 * dy) ** 2 + (dy * 3.6 - 0.9 * dx) ** 2)
        ring = np.clip(1 - np.abs(reach - 1.75) / 0.28, 0, 1) * ((dy * 3.6 - 0.9 * dx > 0) | (inside < 0.5))
        picture = mix(picture, (236, 220, 186), ring * 0.8)
    light = Light(side, 0.5, (0.94, 0.95, 1.05), 1.7, (1.0, 1.0, 1.0))
    return Painted(picture, np.zeros((SIDE, SIDE), np.float32), light, Ground(0.0))
