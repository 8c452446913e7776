"""Indoor and unbounded scenes: floors, fabrics and rugs, water, space and the studio."""

import numpy as np

from booth.world.noise import fractal_noise, jitter, mix, value_noise
from booth.world.painting import (
    COLUMNS,
    ROWS,
    SIDE,
    Rng,
    disc,
    drawn,
    field,
    flat,
    gradient,
    scatter,
    scene,
    standing,
    textured,
    tint,
)


@scene("studio")
def studio(rng: Rng):
    picture = gradient((255, 255, 255), jitter(rng, (240, 240, 242), 6), 0.5, 1.0)
    return picture, field(0.1 + 0.5 * np.clip(ROWS - 0.6, 0, 1))


@scene("cobblestone")
def cobblestone(rng: Rng):
    picture = np.broadcast_to(jitter(rng, (62, 58, 56)), (SIDE, SIDE, 3))
    warm = rng.uniform(-8, 14)

    def stones(draw):
        for row in range(9):
            for column in range(-1, 9):
                x, y = column * 16 + (row % 2) * 8, row * 15 - 3
                grey = 138 + rng.uniform(-30, 30)
                fill = (int(grey + warm), int(grey), int(grey - warm))
                draw.rounded_rectangle((x + 1, y + 1, x + 14, y + 13), 5, fill=fill)
                draw.rounded_rectangle((x + 3, y + 2, x + 10, y + 6), 3, fill=tuple(c + 20 for c in fill))

    return flat(drawn(picture, stones))


@scene("pink fabric")
def pink_fabric(rng: Rng):
    angle, bend = rng.uniform(0.2, 1.2), value_noise(rng, SIDE, 3)
    folds = np.sin(14 * (COLUMNS * np.cos(angle) + ROWS * np.sin(angle)) + 3.2 * bend)
    return flat(mix(jitter(rng, (222, 98, 150)), jitter(rng, (255, 186, 214)), 0.5 + 0.5 * folds))


@scene("wooden floor")
def wooden_floor(rng: Rng):
    grain = 0.5 + 0.35 * value_noise(rng, SIDE, 40, 3) + 0.15 * value_noise(rng, SIDE, 80, 10)
    planks = np.repeat(rng.uniform(0.72, 1.1, 6), -(-SIDE // 6))[:SIDE, None, None]
    picture = mix(jitter(rng, (122, 72, 36)), jitter(rng, (194, 130, 74)), np.clip(grain, 0, 1)) * planks

    def seams(draw):
        for index in range(6):
            y = index * 22
            draw.line([(0, y), (SIDE, y)], fill=(66, 36, 18), width=2)
            x = rng.uniform(0, SIDE)
            draw.line([(x, y), (x, y + 22)], fill=(66, 36, 18), width=2)

    return flat(drawn(picture, seams))


@scene("white rug")
def white_rug(rng: Rng):
    tufts = np.clip(0.6 + 0.45 * value_noise(rng, SIDE, 34) + 0.2 * value_noise(rng, SIDE, 8), 0, 1)
    fur = mix((206, 200, 190), (254, 252, 248), tufts)
    floor = mix(jitter(rng, (112, 70, 42)), jitter(rng, (150, 100, 62)), 0.5 + 0.5 * value_noise(rng, SIDE, 30, 3))
    u, v = COLUMNS * 2 - 1, ROWS * 2 - 1
    edge = 0.92 + 0.05 * value_noise(rng, SIDE, 24) - np.sqrt(np.sqrt(u**4 + v**4))
    return flat(mix(floor, fur, np.clip(edge * 30, 0, 1)))


def _waves(rng: Rng, deep, shallow, crest) -> tuple[np.ndarray, np.ndarray]:
    """Lines of waves that grow towards the viewer."""
    swell = ROWS * 16 / (0.45 + 0.55 * ROWS) + 1.4 * value_noise(rng, SIDE, 5, 4) + 0.6 * value_noise(rng, SIDE, 20, 9)
    height = 0.5 + 0.5 * np.sin(swell * 2.2)
    picture = mix(mix(deep, shallow, height), crest, np.clip((height - 0.86) * 5, 0, 1) * 0.8)
    return picture, field(0.15 + 0.55 * ROWS)


@scene("water")
def water(rng: Rng):
    return _waves(rng, jitter(rng, (14, 84, 152)), jitter(rng, (56, 150, 208)), (222, 244, 252))


@scene("milk")
def milk(rng: Rng):
    return _waves(rng, jitter(rng, (216, 208, 190), 5), jitter(rng, (248, 243, 230), 4), (255, 255, 252))


@scene("space")
def space(rng: Rng):
    cloud = np.clip(fractal_noise(rng, SIDE, 3) * 1.2 + 0.1, 0, 1)
    picture = mix((6, 4, 16), jitter(rng, (96, 30, 128), 30), cloud)
    planet = tint(rng, (200, 110, 70), 90)

    def stars(draw):
        for x, y in scatter(rng, 90, 0, 1):
            disc(draw, x, y, rng.uniform(0.5, 1.5), (255, 255, 255))
        x, y, r = rng.choice([16, 112]) + rng.uniform(-6, 6), rng.choice([18, 106]), rng.uniform(9, 15)
        disc(draw, x, y, r, planet)
        disc(draw, x - r * 0.25, y - r * 0.25, r * 0.6, tuple(min(c + 30, 255) for c in planet))
        draw.arc((x - 1.7 * r, y - 0.5 * r, x + 1.7 * r, y + 0.5 * r), -20, 200, fill=(236, 220, 180), width=2)

    return drawn(picture, stars), np.zeros((SIDE, SIDE), np.float32)


@scene("underwater")
def underwater(rng: Rng):
    picture = gradient(jitter(rng, (46, 176, 206)), jitter(rng, (6, 46, 104)))
    slant = COLUMNS + rng.uniform(-0.5, 0.5) * ROWS
    rays = np.clip(np.sin(slant * 16 + rng.uniform(0, 6)) - 0.3, 0, 1) * (1 - ROWS) * 0.5
    picture = mix(picture, (190, 245, 250), rays)

    def life(draw):
        for x in np.concatenate([rng.uniform(0, 36, 3), rng.uniform(92, SIDE, 3)]):
            colour, h = tint(rng, (30, 130, 80), 30), rng.uniform(24, 52)
            points = [(x + 4 * np.sin(t / 7 + x), SIDE - t) for t in np.arange(0, h, 4)]
            draw.line(points, fill=colour, width=4)
        draw.polygon([(0, SIDE), (0, 116), (40, 112), (90, 118), (SIDE, 112), (SIDE, SIDE)], fill=(190, 172, 120))
        for x, y in scatter(rng, 14, 0, 0.85):
            r = rng.uniform(1.5, 3.5)
            draw.ellipse((x - r, y - r, x + r, y + r), outline=(210, 246, 255), width=1)

    return drawn(picture, life), field(0.1 + 0.4 * ROWS**3)


@scene("tiles")
def tiles(rng: Rng):
    wall = textured(rng, (186, 206, 190), (200, 218, 204), 3, 1)
    depth = np.clip((ROWS - 0.46) / 0.54, 0.0, 1) + 0.16
    u, v = (COLUMNS - 0.5) / depth * 3.0 + rng.uniform(0, 1), 1.3 / depth + rng.uniform(0, 1)
    checks = ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    floor = mix(jitter(rng, (40, 40, 46)), jitter(rng, (234, 232, 226)), checks)
    return standing(wall, floor, 0.46)
