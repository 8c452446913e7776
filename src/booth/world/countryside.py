"""Fields, trees and roads in the country."""

import numpy as np

from booth.world import plants, textures
from booth.world.light import Ground, Light
from booth.world.noise import jitter, mix, value_noise
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
    join,
    lie,
    ridge,
    scatter,
    scene,
    sky,
    spread,
    stamp_onto,
    stamped,
    standing_nearness,
    tint,
)


@scene("wheat field")
def wheat_field(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.34, 0.46), sun_side(rng)
    evening = rng.random() < 0.35
    top, low = ((92, 158, 228), (222, 234, 240)) if not evening else ((150, 150, 206), (255, 216, 160))
    picture = sky(rng, top, low, end=horizon + 0.05)
    picture = distant(picture, tint(rng, (108, 142, 120), 8), ridge(rng, horizon + 0.01, 0.07, 5))
    depth = np.clip((ROWS - horizon) / (1 - horizon), 0.02, 1)
    vanish = rng.uniform(0.3, 0.7)
    rows = np.sin((COLUMNS - vanish) / depth * 9) * np.clip(depth * 1.6, 0, 1)
    stalks = 0.55 + 0.16 * rows + 0.26 * value_noise(rng, SIDE, 26, 64) + 0.14 * value_noise(rng, SIDE, 5)
    field = mix(jitter(rng, (166, 108, 30), 8), jitter(rng, (250, 212, 104), 8), np.clip(stalks, 0, 1))
    picture = join(picture, mix(field, (250, 226, 150), spread(np.clip(0.3 - depth, 0, 1))), horizon)
    pieces = []
    if rng.random() < 0.4:
        pieces.append(
            (plants.tree(int(rng.integers(4))), rng.uniform(8, 120), horizon * SIDE + 2, rng.uniform(14, 24), False)
        )
    for x, y in scatter(rng, 64, horizon + 0.10, 1.22):
        near = (y / SIDE - horizon) / (1 - horizon)
        pieces.append((plants.wheat(int(rng.integers(6))), x, y, 7 + 32 * near, bool(rng.integers(2))))
    picture = stamped(picture, pieces)
    front = clear_layer(lambda draw: None)
    for x in rng.uniform(-4, 132, 9):
        stamp_onto(front, plants.wheat(int(rng.integers(6))), x, SIDE + rng.uniform(10, 22), 42, bool(rng.integers(2)))
    light = Light(side, 0.7, (1.05, 1.0, 0.90), 1.0, (1.0, 0.95, 0.8), (0.50, 0.38, 0.24), 0.7, 0.4, 0.5)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 8.0, "blades"), front)


@scene("autumn")
def autumn(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.58, 0.66), sun_side(rng)
    picture = sky(rng, (150, 188, 222), (250, 236, 206), end=horizon, clouds=0.7)
    for k in range(2):
        tones = ((216, 158, 92), (190, 112, 62))[k]
        picture = distant(picture, tint(rng, tones, 10), ridge(rng, horizon + 0.02, 0.2 - 0.08 * k, 9 + 5 * k))
    ground = lie(textures.leaves, rng, horizon, 0.5)
    picture = join(
        picture,
        mix(ground, (240, 180, 100), spread(np.clip(0.3 - (ROWS - horizon) * 2, 0, 1))),
        horizon + 0.01 * value_noise(rng, SIDE, 1, 6)[:1],
    )
    pieces = [
        (
            plants.tree(int(rng.integers(4)), str(rng.choice(("autumn", "crimson")))),
            x,
            (horizon + 0.02) * SIDE,
            rng.uniform(26, 40),
            False,
        )
        for x in rng.uniform(0, 128, 4)
    ]
    x = rng.uniform(14, 40) if rng.random() < 0.5 else rng.uniform(88, 114)
    pieces.append(
        (
            plants.tree(int(rng.integers(4)), str(rng.choice(("autumn", "crimson"), p=(0.7, 0.3)))),
            x,
            rng.uniform(86, 96),
            rng.uniform(90, 112),
            bool(rng.integers(2)),
        )
    )
    picture = stamped(picture, pieces)

    def falling(draw: Brush) -> None:
        for x, y in zip(rng.uniform(0, SIDE, 16), rng.uniform(0, SIDE, 16), strict=True):
            turn, r = rng.uniform(0, 6), rng.uniform(1.4, 2.8)
            c, s = r * np.cos(turn), r * np.sin(turn)
            draw.polygon(
                [(x - c, y - s), (x - 0.5 * s, y + 0.5 * c), (x + c, y + s), (x + 0.5 * s, y - 0.5 * c)],
                ((222, 76, 26), (246, 150, 36), (250, 196, 60))[int(rng.integers(3))],
            )

    light = Light(side, 0.8, (1.05, 0.99, 0.90), 1.0, (1.0, 0.94, 0.78), (0.36, 0.27, 0.26), 0.8, 0.55, 0.7)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 3.0, "mound"), clear_layer(falling))


@scene("sunflowers")
def sunflowers(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.34, 0.44), sun_side(rng)
    picture = sky(rng, end=horizon + 0.06)
    picture = distant(picture, tint(rng, (112, 156, 104), 8), ridge(rng, horizon + 0.02, 0.10, 4))
    meadow = lie(textures.grass, rng, horizon, 0.6)
    picture = join(picture, mix(meadow, (206, 220, 130), spread(np.clip(0.4 - (ROWS - horizon) * 2.5, 0, 1))), horizon)
    pieces = []
    for x, y in scatter(rng, 34, horizon + 0.08, 0.98):
        near = (y / SIDE - horizon) / (1 - horizon)
        # Around the middle, where the thing is to stand, they leave room.
        if near > 0.25 and abs(x - 64) < 30:
            x = float(rng.choice((rng.uniform(-4, 30), rng.uniform(98, 132))))
        pieces.append((plants.sunflower(int(rng.integers(5))), x, y, 11 + 40 * near, bool(rng.integers(2))))
    picture = tufts(rng, stamped(picture, pieces), 12, horizon + 0.2, high=14)
    front = clear_layer(lambda draw: None)
    for x in (rng.uniform(-2, 14), rng.uniform(114, 130)):
        stamp_onto(
            front, plants.sunflower(int(rng.integers(5))), x, SIDE + rng.uniform(4, 18), 60, bool(rng.integers(2))
        )
    light = Light(side, 0.9, (1.02, 1.01, 0.95), 1.0, (1.0, 0.98, 0.86), (0.26, 0.34, 0.20), 0.75, 0.5, 0.6)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 4.5, "blades"), front)


@scene("dirt road")
def dirt_road(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.38, 0.48), sun_side(rng)
    picture = sky(rng, end=horizon + 0.08)
    picture = distant(picture, tint(rng, (104, 140, 112), 10), ridge(rng, horizon + 0.02, 0.12, 4))
    picture = join(picture, lie(textures.grass, rng, horizon, 0.7), horizon)
    depth = np.clip((ROWS - horizon) / (1 - horizon), 0, 1)
    bend = rng.uniform(-0.35, 0.35)
    centre = 0.5 + bend * (1 - depth) ** 2 * np.sin(2.2 * depth + 0.6) + 0.012 * value_noise(rng, SIDE, 10)
    half = 0.035 + 0.46 * depth
    across = (COLUMNS - centre) / half
    edge = 1 + 0.06 * value_noise(rng, SIDE, 40, 14)
    road = np.clip((edge - np.abs(across)) * half * SIDE * 0.5, 0, 1) * (horizon < ROWS)
    earth = lie(textures.earth, rng, horizon, 0.8) * 1.06
    ruts = np.exp(-(((np.abs(across) - 0.5) / 0.15) ** 2))
    middle = np.exp(-((across / 0.16) ** 2)) * np.clip(0.6 + 0.5 * value_noise(rng, SIDE, 24, 12), 0, 1)
    earth = mix(mix(earth, (92, 60, 38), 0.55 * ruts), (104, 146, 62), 0.6 * middle)
    picture = mix(picture, earth, road)
    pieces = [
        (plants.tree(int(rng.integers(4))), x, (horizon + rng.uniform(0.01, 0.06)) * SIDE, rng.uniform(18, 44), False)
        for x in np.concatenate([rng.uniform(-8, 36, 2), rng.uniform(92, 136, 2)])
    ]
    if rng.random() < 0.6:
        pieces += [
            (plants.bush(int(rng.integers(3))), x, (horizon + 0.05) * SIDE, rng.uniform(6, 12), False)
            for x in rng.choice((8, 24, 104, 122), 2)
        ]
    picture = stamped(picture, sorted(pieces, key=lambda p: p[2]))

    def fence(draw: Brush) -> None:
        if rng.random() < 0.5:
            lean = rng.choice((-1, 1))
            posts = [0.10, 0.16, 0.25, 0.38, 0.58, 0.9]
            tops = []
            for d in posts:
                x, y, h = SIDE * (0.5 + lean * (0.10 + 0.62 * d)), SIDE * (horizon + (1 - horizon) * d), 3 + 26 * d
                draw.box(x - 0.4 - d, y - h, x + 0.4 + d, y, (132, 100, 68))
                tops.append((x, y, h))
            for share in (0.85, 0.5):
                draw.line([(x, y - h * share) for x, y, h in tops], (150, 116, 80), 1)

    sides = (rng.uniform(-4, 20), rng.uniform(108, 132), rng.uniform(-4, 12), rng.uniform(116, 132))
    picture = stamped(
        drawn(picture, fence), [(plants.tuft(int(rng.integers(5))), x, rng.uniform(100, 130), 16, False) for x in sides]
    )
    light = Light(side, 0.8, (1.02, 1.0, 0.96), 1.0, (1.0, 0.97, 0.88), (0.34, 0.30, 0.28), 0.78, 0.58, 0.7)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon))


@scene("meadow")
def meadow(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.40, 0.54), sun_side(rng)
    picture = sky(rng, end=horizon + 0.05)
    picture = distant(picture, tint(rng, (120, 166, 126), 10), ridge(rng, horizon + 0.02, rng.uniform(0.06, 0.16), 4))
    green = lie(textures.grass, rng, horizon, 0.6)
    far = spread(np.clip(0.45 - (ROWS - horizon) * 2.4, 0, 1))
    picture = join(picture, mix(green, (184, 216, 116), far), horizon + 0.02 * value_noise(rng, SIDE, 1, 4)[:1])
    pieces = [
        (plants.tree(int(rng.integers(4))), x, (horizon + rng.uniform(0.0, 0.03)) * SIDE, rng.uniform(10, 26), False)
        for x in rng.uniform(0, 128, int(rng.integers(0, 5)))
    ]
    picture = tufts(rng, stamped(picture, pieces), 26, horizon + 0.07, high=17, flowers=int(rng.integers(0, 22)))
    light = Light(side, 0.9, (1.0, 1.01, 0.97), 1.0, (1.0, 0.99, 0.88), (0.24, 0.34, 0.22), 0.78, 0.55, 0.65)
    return Painted(picture, standing_nearness(horizon), light, Ground(horizon, 4.5, "blades"))
