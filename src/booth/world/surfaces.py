"""Indoor scenes: the studio, floors, fabric and rugs."""

import numpy as np

from booth.world import textures
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
    crop,
    drawn,
    join,
    scene,
    spread,
    standing_nearness,
    tint,
    vignette,
)

FLAT = 0.45  # nearness of a ground seen from above


def _from_above(picture: np.ndarray, light: Light) -> Painted:
    """Light falls across the floor from one side."""
    slope = (COLUMNS - 0.5) * light.side + (0.5 - ROWS) * 0.6
    lit = picture * (1 + 0.22 * slope)[..., None]
    return Painted(lit, np.full((SIDE, SIDE), FLAT, np.float32), light, Ground(0.0))


@scene("studio")
def studio(rng: Rng) -> Painted:
    side = sun_side(rng)
    white = jitter(rng, (252, 252, 252), 2)
    floor = rng.uniform(0.60, 0.80)
    fall = np.clip((ROWS - floor) / 0.4, 0, 1) * rng.uniform(8, 22) + np.clip(
        -(COLUMNS - 0.5) * side, 0, 1
    ) * rng.uniform(0, 14)
    picture = np.clip(white - fall[..., None], 0, 255)
    light = Light(side, 0.9, (1.0, 1.0, 1.0), 1.0, (1.0, 1.0, 1.0), (0.55, 0.55, 0.58), 0.62, 0.30, 0.55)
    return Painted(
        picture,
        spread(0.1 + 0.5 * np.clip(ROWS - 0.6, 0, 1)),
        light,
        Ground(0.40, mirror=float(rng.choice((0.0, 0.14)))),
    )


@scene("cobblestone")
def cobblestone(rng: Rng) -> Painted:
    picture = crop(
        textures.cobbles, rng, rng.uniform(1.1, 1.5), rng.choice((0.0, np.pi / 2)) + rng.uniform(-0.25, 0.25)
    )
    picture = picture * jitter(rng, (100, 98, 96), 9)[None, None] / 98
    wet = np.clip(fractal_noise(rng, SIDE, 3, 3) - 0.15, 0, 1) * rng.uniform(0, 0.5)
    return _from_above(
        mix(picture, picture * 0.62, wet), Light(sun_side(rng), 0.8, contact=0.95, shadow=(0.24, 0.24, 0.30))
    )


@scene("pink fabric")
def pink_fabric(rng: Rng) -> Painted:
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(9, 15)
    bend = 2.6 * value_noise(rng, SIDE, 3) + 1.1 * value_noise(rng, SIDE, 5)
    along = frequency * (COLUMNS * np.cos(angle) + ROWS * np.sin(angle)) + bend
    folds = np.sin(along) + 0.35 * np.sin(2.1 * along + 1.3 * value_noise(rng, SIDE, 4))
    down, right = np.gradient(folds.astype(np.float32))
    lit = np.clip(0.5 - 2.3 * right * np.cos(0.7) - 2.3 * down + 0.18 * folds, 0, 1)
    picture = mix(jitter(rng, (196, 64, 122), 8), jitter(rng, (250, 164, 202), 8), lit)
    sheen = np.clip(lit - 0.80, 0, 1) * 3
    picture = mix(picture, (255, 228, 240), sheen * 0.7)
    threads = 1 + 0.025 * ((np.arange(SIDE)[:, None] + np.arange(SIDE)[None, :]) % 2 * 2 - 1)
    return _from_above(
        picture * threads[..., None],
        Light(sun_side(rng), 0.8, (1.02, 0.98, 1.0), contact=0.85, shadow=(0.42, 0.20, 0.32)),
    )


@scene("wooden floor")
def wooden_floor(rng: Rng) -> Painted:
    picture = crop(
        textures.planks, rng, rng.uniform(1.0, 1.5), rng.choice((0.0, np.pi / 2, 0.6, -0.5)) + rng.uniform(-0.12, 0.12)
    )
    tone = ((1.0, 1.0, 1.0), (0.80, 0.76, 0.72), (1.12, 1.06, 0.98))[int(rng.integers(3))]
    picture = picture * np.array(tone, np.float32) * jitter(rng, (100, 100, 100), 5) / 100
    # Light from a window lies across it.
    slant = COLUMNS * rng.uniform(0.6, 1.2) + ROWS * rng.uniform(-1, 1) + rng.uniform(0, 2)
    panes = np.clip(np.sin(slant * 5) * 3, 0, 1) * rng.uniform(0.05, 0.22)
    return _from_above(
        mix(picture, (255, 240, 206), panes),
        Light(sun_side(rng), 0.8, (1.02, 1.0, 0.96), contact=0.92, shadow=(0.30, 0.22, 0.20)),
    )


@scene("white rug")
def white_rug(rng: Rng) -> Painted:
    fur = crop(textures.pile, rng, rng.uniform(0.8, 1.2), rng.uniform(-0.4, 0.4))
    floor = crop(textures.planks, rng, rng.uniform(1.1, 1.5), rng.choice((0.0, np.pi / 2))) * np.array(
        (0.78, 0.72, 0.68), np.float32
    )
    u, v = (COLUMNS - 0.5 - rng.uniform(-0.06, 0.06)) * 2, (ROWS - 0.5 - rng.uniform(-0.06, 0.06)) * 2
    power = float(rng.choice((2, 4, 8)))
    reach = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    fringe = 0.035 * value_noise(rng, SIDE, 48) + 0.015 * value_noise(rng, SIDE, 90)
    edge = rng.uniform(0.90, 1.0) + fringe - reach
    shadow = np.clip((edge + 0.07) * 14, 0, 1) * 0.55
    picture = mix(floor * (1 - shadow)[..., None], fur, np.clip(edge * 34, 0, 1))
    picture = picture * (1 - 0.28 * np.exp(-((edge / 0.045) ** 2)) * (edge > 0))[..., None]
    return _from_above(picture, Light(sun_side(rng), 0.8, contact=0.75, shadow=(0.50, 0.48, 0.50)))


@scene("tiles")
def tiles(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.40, 0.52), sun_side(rng)
    wall = np.array(
        tint(rng, ((206, 218, 204), (226, 210, 186), (186, 206, 222), (222, 200, 206))[int(rng.integers(4))], 8),
        np.float32,
    )
    lit = 1.02 + 0.10 * (COLUMNS - 0.5) * side - 0.10 * ROWS / horizon + 0 * ROWS
    picture = wall * (spread(lit) * (1 + 0.015 * value_noise(rng, SIDE, 30)))[..., None]
    depth = np.clip((ROWS - horizon) / (1 - horizon), 0.0, 1) + 0.20
    count, turn = rng.uniform(2.0, 3.0), rng.random() < 0.3
    u, v = (COLUMNS - 0.5) / depth * count + rng.uniform(0, 2), 1.15 / depth * count / 2.4 + rng.uniform(0, 2)
    if turn:  # laid diagonally
        u, v = (u + 2.2 * v) * 0.8, (u - 2.2 * v) * 0.8
    else:
        v = v * 2.2
    soft = 9 * depth
    checks = np.clip(0.5 + soft * np.sin(np.pi * u) * np.sin(np.pi * v), 0, 1)
    dark, bright = (
        jitter(
            rng,
            ((38, 38, 44), (120, 40, 44), (36, 60, 96), (40, 80, 66))[int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)))],
            5,
        ),
        jitter(rng, (238, 236, 230), 4),
    )
    floor = mix(dark, bright, checks)
    floor = mix(floor, wall, spread(np.clip(0.35 - (ROWS - horizon) * 0.9, 0, 0.3)))
    picture = join(picture, floor, horizon)

    def board(draw: Brush) -> None:
        y = horizon * SIDE
        draw.box(0, y - 7, SIDE, y, (248, 246, 242))
        draw.box(0, y - 7, SIDE, y - 6, (255, 255, 255))
        draw.box(0, y - 1, SIDE, y + 1, (140, 134, 128))

    light = Light(side, 0.85, (1.0, 1.0, 0.99), 1.0, (1.0, 0.99, 0.95), (0.36, 0.36, 0.40), 0.75, 0.42, 0.6)
    picture = vignette(drawn(picture, board), 0.10)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon + 0.04, mirror=0.26))
