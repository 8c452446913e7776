"""Among trees: a jungle, and a rug in a forest."""

import numpy as np

from booth.world import plants, textures
from booth.world.light import Ground, Light
from booth.world.noise import mix, value_noise
from booth.world.outdoors import sun_side, tufts
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
    recoloured,
    scene,
    spread,
    stamp_onto,
    stamped,
    standing_nearness,
    tint,
)


@scene("jungle")
def jungle(rng: Rng) -> Painted:
    horizon = rng.uniform(0.62, 0.72)
    wall = mix(
        lie(textures.foliage, rng, -0.6, 0.9),
        (196, 224, 120),
        spread(np.clip(0.42 - ROWS * 0.75, 0, 1) * (0.7 + 0.3 * value_noise(rng, SIDE, 1, 4))),
    )
    slant = COLUMNS + rng.choice((-0.6, 0.6)) * ROWS + rng.uniform(0, 1)
    rays = np.clip(np.sin(slant * 17) + np.sin(slant * 9.5 + 1), 0, 2) * np.clip(1 - ROWS * 1.25, 0, 1) * 0.24
    picture = mix(wall, (236, 246, 170), rays)
    floor = mix(
        lie(textures.earth, rng, horizon, 0.8) * 0.5,
        (24, 60, 24),
        spread(np.clip(0.35 + 0.5 * value_noise(rng, SIDE, 6), 0, 1)),
    )
    picture = join(picture, floor, horizon + 0.02 * value_noise(rng, SIDE, 1, 9)[:1])
    pieces = []
    for _ in range(9):  # hanging from above, and standing at the sides
        kind = str(rng.choice(("blade", "split", "fern")))
        piece = recoloured(plants.leaf(kind, int(rng.integers(3))), float(rng.uniform(0.35, 0.75)))
        pieces.append((piece, rng.uniform(-6, 134), rng.uniform(20, 62), rng.uniform(34, 62), bool(rng.integers(2))))
    for _ in range(7):
        x = rng.choice((rng.uniform(-8, 34), rng.uniform(94, 136)))
        pieces.append(
            (
                recoloured(plants.frond(int(rng.integers(3))), float(rng.uniform(0.6, 1.0))),
                x,
                rng.uniform(88, 122),
                rng.uniform(34, 56),
                bool(rng.integers(2)),
            )
        )
    picture = stamped(picture, pieces)

    def vines(draw: Brush) -> None:
        for x in rng.uniform(4, 124, 3):
            sway = rng.uniform(-9, 9)
            draw.line([(x + sway * np.sin(t * 2), t * 74) for t in np.linspace(-0.02, 1, 12)], (30, 58, 24), 1.4)

    picture = tufts(rng, drawn(picture, vines), 10, horizon + 0.02, high=20)
    front = clear_layer(lambda draw: None)
    for x, flip in ((rng.uniform(-4, 8), False), (rng.uniform(120, 132), True)):
        stamp_onto(
            front,
            recoloured(plants.leaf(str(rng.choice(("split", "blade"))), int(rng.integers(3))), 0.9),
            x,
            rng.uniform(34, 50),
            56,
            flip,
        )
    light = Light(sun_side(rng), 1.0, (0.92, 1.0, 0.84), 1.1, (0.98, 1.0, 0.75), (0.20, 0.28, 0.20), 0.8, 0.35, 0.5)
    return Painted(picture, spread(0.1 + 0.5 * ROWS**2), light, Ground(horizon, 4.0, "blades"), front)


@scene("purple rug")
def purple_rug(rng: Rng) -> Painted:
    horizon, side = rng.uniform(0.46, 0.54), sun_side(rng)
    wood = mix(
        lie(textures.foliage, rng, -0.6, 0.8),
        (214, 228, 150),
        spread(np.exp(-(((COLUMNS - rng.uniform(0.3, 0.7)) / 0.28) ** 2) - ((ROWS - 0.28) / 0.26) ** 2) * 0.75),
    )
    picture = join(
        wood,
        lie(textures.leaves, rng, horizon, 0.55) * np.array((0.62, 0.66, 0.46)),
        horizon + 0.015 * value_noise(rng, SIDE, 1, 9)[:1],
    )

    def trunks(draw: Brush) -> None:
        for x, near in sorted(
            zip(np.linspace(2, 126, 8) + rng.uniform(-8, 8, 8), rng.random(8), strict=True), key=lambda t: t[1]
        ):
            w, foot = 1.6 + 4.2 * near, (horizon + 0.01 + 0.07 * near) * SIDE
            tone = [int(c * (0.62 + 0.38 * near)) for c in tint(rng, (96, 68, 48), 10)]
            draw.polygon(
                [
                    (x - w, -2),
                    (x + w, -2),
                    (x + w * 1.15, foot),
                    (x + w * 1.7, foot + 2),
                    (x - w * 1.7, foot + 2),
                    (x - w * 1.15, foot),
                ],
                tuple(tone),
            )
            edge = x - w * 0.9 if side < 0 else x + w * 0.3
            draw.polygon(
                [(edge, -2), (edge + w * 0.6, -2), (edge + w * 0.6, foot), (edge, foot)],
                (*[min(255, c + 52) for c in tone], 150),
            )

    picture = drawn(picture, trunks)
    pieces = [
        (plants.bush(int(rng.integers(3))), x, (horizon + 0.035) * SIDE, rng.uniform(9, 17), False)
        for x in rng.uniform(0, 128, 6)
    ]
    picture = stamped(picture, pieces)
    cx, cy = 0.5 + rng.uniform(-0.04, 0.04), rng.uniform(0.79, 0.84)
    rx, ry = rng.uniform(0.44, 0.52), rng.uniform(0.15, 0.18)
    r = np.sqrt(((COLUMNS - cx) / rx) ** 2 + ((ROWS - cy) / ry) ** 2)
    pile = lie(textures.weave, rng, horizon, 1.2)[..., :1] / 128
    purple = np.array(tint(rng, (126, 44, 178), 12), np.float32)
    gold = np.array((232, 196, 104), np.float32)
    bands = ((r > 0.86) & (r < 0.93)) | ((r > 0.60) & (r < 0.64))
    petals = (np.cos(8 * np.arctan2((ROWS - cy) / ry, (COLUMNS - cx) / rx)) * 0.06 + 0.38 > r) & (r > 0.20)
    rug = mix(purple, gold, bands.astype(np.float32)) * pile
    rug = mix(rug, np.array((196, 134, 232)), petals.astype(np.float32) * 0.7)
    shade_under = np.clip((1.12 - np.sqrt(((COLUMNS - cx) / rx) ** 2 + ((ROWS - cy - 0.02) / ry) ** 2)) * 6, 0, 1) * 0.5
    picture = picture * (1 - shade_under)[..., None]
    picture = mix(picture, rug, np.clip((1 - r) * 40, 0, 1))
    light = Light(side, 1.0, (0.96, 1.0, 0.90), 1.1, (1.0, 1.0, 0.8), (0.28, 0.26, 0.30), 0.8, 0.5, 0.6)
    return Painted(picture, standing_nearness(horizon), light, Ground(cy - 0.12))
