"""Outdoor scenes: a ground to stand on and something behind."""

import numpy as np

from booth.world.noise import jitter, mix, value_noise
from booth.world.painting import (
    COLUMNS,
    ROWS,
    SIDE,
    Rng,
    disc,
    drawn,
    field,
    gradient,
    grass,
    scatter,
    scene,
    sky,
    standing,
    textured,
    tint,
)


@scene("jungle")
def jungle(rng: Rng):
    picture = textured(rng, (6, 40, 14), (44, 118, 44), 5)

    def leaves(draw):
        for x, y in scatter(rng, 26, -0.05, 1.05):
            green = tint(rng, (28, 120, 40), 42)
            lean, length = rng.uniform(-16, 16), rng.uniform(18, 34)
            tip = (x + lean, y + length * (1 if y < 50 else -1))
            w = rng.uniform(4, 8)
            middle = ((x + tip[0]) / 2, (y + tip[1]) / 2)
            draw.polygon([(x, y), (middle[0] - w, middle[1]), tip, (middle[0] + w, middle[1])], fill=green)
            draw.line([(x, y), tip], fill=(10, 60, 20))

    return drawn(picture, leaves), field(0.1 + 0.5 * ROWS**2)


@scene("snow")
def snow(rng: Rng):
    horizon = rng.uniform(0.4, 0.5)
    ground = mix((250, 252, 255), (196, 212, 236), np.clip(value_noise(rng, SIDE, 6, 3) * 0.9, 0, 1))
    picture, nearness = standing(gradient(jitter(rng, (150, 172, 200)), (214, 224, 238), 0, horizon), ground, horizon)

    def flakes_and_firs(draw):
        for x in rng.uniform(0, SIDE, 5):
            base, h = horizon * SIDE + 2, rng.uniform(20, 36)
            for step in range(3):
                top = base - h + step * h * 0.26
                half = 5 + step * 2.5
                draw.polygon([(x, top), (x - half, top + h * 0.42), (x + half, top + h * 0.42)], fill=(70, 104, 100))
                draw.polygon([(x, top), (x - half / 2, top + h * 0.2), (x + half / 2, top + h * 0.2)], fill="white")
        for x, y in scatter(rng, 55, 0, 1):
            disc(draw, x, y, rng.uniform(0.8, 2.0), (255, 255, 255))

    return drawn(picture, flakes_and_firs), nearness


@scene("beach")
def beach(rng: Rng):
    sand = textured(rng, (222, 190, 130), (250, 228, 172), 18, 2)
    picture, nearness = standing(sky(rng), sand, 0.5)
    shore = 0.56 + 0.012 * np.sin(COLUMNS * rng.uniform(8, 14) + rng.uniform(0, 6))
    sea = field((ROWS > 0.32) & (shore > ROWS))
    waves = np.clip(value_noise(rng, SIDE, 40, 6), 0, 1) * 0.35
    picture = mix(picture, mix(jitter(rng, (24, 110, 190)), (190, 232, 245), waves), sea)
    foam = field(np.clip(1 - np.abs(ROWS - shore) / 0.016, 0, 1))
    return mix(picture, (255, 255, 255), foam), nearness


@scene("city")
def city(rng: Rng):
    road = textured(rng, (74, 74, 82), (94, 94, 102), 30, 1)
    picture, nearness = standing(gradient(jitter(rng, (120, 170, 225)), (236, 214, 190), 0, 0.6), road, 0.68)

    def towers(draw):
        x = -6.0
        while x < SIDE:
            width, top = rng.uniform(13, 24), rng.uniform(0.04, 0.42) * SIDE
            draw.rectangle((x, top, x + width - 2, 0.68 * SIDE), fill=tint(rng, (88, 92, 122), 34))
            lit = (255, 226, 130) if rng.random() < 0.7 else (180, 205, 230)
            for wy in np.arange(top + 4, 0.66 * SIDE - 4, 8):
                for wx in np.arange(x + 3, x + width - 6, 6):
                    if rng.random() < 0.7:
                        draw.rectangle((wx, wy, wx + 2, wy + 3), fill=lit)
            x += width
        for start in range(int(rng.integers(0, 20)) - 20, SIDE, 34):
            draw.rectangle((start, 108, start + 18, 111), fill=(236, 232, 216))

    return drawn(picture, towers), nearness


@scene("mountain")
def mountain(rng: Rng):
    picture, nearness = standing(sky(rng), textured(rng, (92, 128, 72), (150, 176, 100), 10, 2), 0.66)

    def peaks(draw):
        for x in (rng.uniform(5, 30), rng.uniform(90, 122), rng.uniform(45, 80)):
            top, half = rng.uniform(6, 26), rng.uniform(40, 56)
            base = 0.66 * SIDE
            rock = tint(rng, (104, 112, 134), 16)
            slope = half / (base - top)
            draw.polygon([(x, top), (x - half, base), (x + half, base)], fill=rock)
            draw.polygon([(x, top), (x + half, base), (x + 6, base)], fill=tuple(c - 24 for c in rock))
            cap = 20 * slope
            draw.polygon(
                [(x, top), (x - cap, top + 20), (x - cap / 2, top + 14), (x, top + 22), (x + cap / 2, top + 15),
                 (x + cap, top + 20)], fill=(248, 250, 255),
            )  # fmt: skip

    return drawn(picture, peaks), nearness


@scene("blue house")
def blue_house(rng: Rng):
    picture, nearness = standing(sky(rng, (170, 206, 238), (226, 238, 246)), grass(rng), 0.68)
    shift, blue = rng.uniform(-14, 14), tint(rng, (42, 92, 196), 14)

    def house(draw):
        left, right, eaves, base = 14 + shift, 114 + shift, 42, 90
        draw.rectangle((left, eaves, right, base), fill=blue)
        for y in range(eaves + 5, base, 6):
            draw.line([(left, y), (right, y)], fill=tuple(max(c - 22, 0) for c in blue))
        draw.polygon([(left - 9, eaves + 2), (64 + shift, 5), (right + 9, eaves + 2)], fill=tint(rng, (120, 62, 52)))
        for x in (left + 6, right - 28):
            draw.rectangle((x, 52, x + 21, 74), fill=(255, 255, 255))
            draw.rectangle((x + 3, 55, x + 18, 71), fill=(255, 232, 150))
            draw.line([(x + 10, 55), (x + 10, 71)], fill=(255, 255, 255), width=2)
        draw.rectangle((57 + shift, 58, 72 + shift, base), fill=(246, 244, 238))

    return drawn(picture, house), nearness


@scene("purple rug")
def purple_rug(rng: Rng):
    floor = textured(rng, (70, 62, 30), (112, 96, 50), 16, 2)
    picture, nearness = standing(textured(rng, (16, 44, 24), (70, 118, 66), 7, 2), floor, 0.56)
    purple = tint(rng, (126, 46, 176), 14)

    def trunks_and_rug(draw):
        for x in np.linspace(4, 124, 6) + rng.uniform(-8, 8, 6):
            w = rng.uniform(3, 6)
            draw.rectangle((x - w, 0, x + w, 0.6 * SIDE), fill=tint(rng, (84, 58, 38)))
        draw.ellipse((2, 76, 126, 127), fill=(226, 196, 110))
        draw.ellipse((6, 78, 122, 125), fill=purple)
        draw.ellipse((20, 84, 108, 119), outline=(226, 196, 110), width=2)

    return drawn(picture, trunks_and_rug), nearness


@scene("wheat field")
def wheat_field(rng: Rng):
    horizon = rng.uniform(0.3, 0.42)
    stalks = 0.5 + 0.5 * value_noise(rng, SIDE, 7, 56) + 0.2 * value_noise(rng, SIDE, 24)
    wheat = mix(jitter(rng, (172, 116, 34)), jitter(rng, (250, 212, 98)), np.clip(stalks, 0, 1))
    picture, nearness = standing(sky(rng, end=horizon + 0.1), wheat, horizon)

    def ears(draw):
        for x, y in scatter(rng, 60, horizon + 0.02, 1):
            lean = rng.uniform(-3, 3)
            draw.line([(x, y + 14), (x + lean, y)], fill=(196, 142, 46))
            draw.ellipse((x + lean - 1.6, y - 6, x + lean + 1.6, y + 2), fill=(255, 226, 130))

    return drawn(picture, ears), nearness


@scene("autumn")
def autumn(rng: Rng):
    ground = textured(rng, (150, 74, 26), (216, 132, 46), 14, 2)
    picture, nearness = standing(gradient(jitter(rng, (190, 206, 216)), (244, 226, 190), 0, 0.6), ground, 0.62)
    x = rng.uniform(20, 44) if rng.random() < 0.5 else rng.uniform(84, 108)
    leaf_colours = ((214, 62, 24), (240, 128, 24), (250, 186, 40), (176, 48, 28))

    def tree(draw):
        draw.polygon([(x - 6, 86), (x - 4, 20), (x + 4, 20), (x + 7, 86)], fill=(92, 58, 38))
        for _ in range(60):
            angle, r = rng.uniform(0, 2 * np.pi), 42 * np.sqrt(rng.random())
            fill = leaf_colours[int(rng.integers(4))]
            disc(draw, x + r * np.cos(angle), 20 + 0.75 * r * np.sin(angle), rng.uniform(4, 8), fill)
        for lx, ly in scatter(rng, 45, 0.3, 1):
            disc(draw, lx, ly, rng.uniform(1.5, 3), leaf_colours[int(rng.integers(4))])

    return drawn(picture, tree), nearness


@scene("eiffel tower")
def eiffel_tower(rng: Rng):
    lawn = textured(rng, (84, 142, 70), (126, 178, 92), 14, 2)
    picture, nearness = standing(sky(rng, (130, 178, 226), (250, 224, 204)), lawn, 0.74)
    x, iron = rng.uniform(54, 74), tint(rng, (112, 80, 58), 10)

    def tower(draw):
        top, base = 1, 0.75 * SIDE
        heights = np.linspace(0, 1, 14)
        half = 2 + 36 * heights**2.6
        ys = top + (base - top) * heights
        left, right = list(zip(x - half, ys, strict=True)), list(zip(x + half, ys, strict=True))
        draw.polygon(left + right[::-1], fill=iron)
        draw.pieslice((x - 20, base - 24, x + 20, base + 26), 180, 360, fill=(196, 214, 200))
        for share in (0.55, 0.78):
            y, w = top + (base - top) * share, 2 + 36 * share**2.6
            draw.rectangle((x - w - 3, y, x + w + 3, y + 4), fill=tuple(c - 30 for c in iron))
        draw.line([(x, 0), (x, 12)], fill=iron, width=2)
        for y in range(16, 50, 7):
            draw.line([(x - 2, y), (x + 2, y + 4)], fill=(206, 196, 180))

    return drawn(picture, tower), nearness


@scene("sunflowers")
def sunflowers(rng: Rng):
    picture, nearness = standing(sky(rng), grass(rng), 0.3)

    def flowers(draw):
        for x, y in scatter(rng, 15, 0.24, 0.98):
            r = 5 + 5 * y / SIDE
            draw.line([(x, y), (x, y + 2.6 * r)], fill=(40, 96, 28), width=2)
            for angle in np.arange(0, 2 * np.pi, np.pi / 4):
                disc(draw, x + 0.75 * r * np.cos(angle), y + 0.75 * r * np.sin(angle), r * 0.36, (255, 206, 20))
            disc(draw, x, y, r * 0.55, (98, 56, 20))

    return drawn(picture, flowers), nearness


@scene("sidewalk")
def sidewalk(rng: Rng):
    paving = textured(rng, (164, 160, 156), (190, 186, 180), 30, 1)
    picture, nearness = standing(textured(rng, (150, 132, 120), (190, 172, 152), 4, 2), paving, 0.62)

    def street(draw):
        for x in range(0, SIDE, 32):
            draw.rectangle((x + 3, 6, x + 28, 48), fill=tint(rng, (120, 132, 146), 30))
            draw.rectangle((x + 1, 0, x + 30, 8), fill=tint(rng, (196, 70, 60), 60))
        for x in np.arange(2, SIDE, 11) + rng.uniform(-4, 4, 12):
            top = rng.uniform(28, 40)
            disc(draw, x, top, 4.2, tint(rng, (216, 170, 138), 40))
            draw.rounded_rectangle((x - 6, top + 4, x + 6, top + 27), 4, fill=tint(rng, (120, 100, 120), 110))
            draw.rectangle((x - 4, top + 26, x + 4, 86), fill=tint(rng, (50, 52, 74), 24))
        for y in (92, 108):
            draw.line([(0, y), (SIDE, y)], fill=(134, 130, 126))
        for x in range(-40, SIDE + 41, 24):
            draw.line([(64 + (x - 64) * 0.7, 80), (64 + (x - 64) * 1.6, SIDE)], fill=(134, 130, 126))

    return drawn(picture, street), nearness


@scene("dirt road")
def dirt_road(rng: Rng):
    picture, nearness = standing(sky(rng), grass(rng), 0.38)
    depth = np.clip((ROWS - 0.38) / 0.62, 0, 1)
    centre = 0.5 + rng.uniform(-0.25, 0.25) * (1 - depth) ** 2 + 0.03 * value_noise(rng, SIDE, 6)
    half = 0.05 + 0.42 * depth
    road = np.clip((half - np.abs(COLUMNS - centre)) * 40, 0, 1) * (ROWS > 0.38)
    ruts = np.exp(-(((np.abs(COLUMNS - centre) / half - 0.5) / 0.12) ** 2))
    earth = mix(textured(rng, (146, 100, 62), (192, 146, 98), 20, 2), (104, 68, 40), 0.6 * ruts)
    return mix(picture, earth, road), nearness


@scene("meadow")
def meadow(rng: Rng):
    return standing(sky(rng), grass(rng), rng.uniform(0.42, 0.54))


@scene("night")
def night(rng: Rng):
    heaven = gradient(jitter(rng, (8, 10, 40), 6), jitter(rng, (42, 46, 104), 8), 0, 0.75)
    picture, nearness = standing(heaven, textured(rng, (16, 26, 34), (34, 48, 50), 12, 2), 0.76)

    def stars(draw):
        for x, y in scatter(rng, 50, 0, 0.72):
            disc(draw, x, y, rng.uniform(0.7, 1.7), (255, 255, 226))
        x, y = rng.choice([18, 108]) + rng.uniform(-6, 6), rng.uniform(14, 26)
        disc(draw, x, y, 11, (255, 246, 196))
        disc(draw, x + 5, y - 3, 9, (14, 16, 48))

    return drawn(picture, stars), nearness


@scene("desert")
def desert(rng: Rng):
    horizon = rng.uniform(0.42, 0.52)
    phase = COLUMNS * rng.uniform(4, 8) + rng.uniform(0, 6)
    ripples = 0.5 + 0.5 * np.sin(ROWS * 60 + 2.5 * np.sin(phase) + 2 * value_noise(rng, SIDE, 4))
    sand = mix(jitter(rng, (208, 128, 60)), jitter(rng, (244, 180, 98)), ripples)
    picture, nearness = standing(gradient(jitter(rng, (250, 190, 110)), (255, 226, 160), 0, 0.5), sand, horizon)
    dune = horizon - 0.09 * np.clip(np.sin(phase), 0, 1)
    far = field((dune < ROWS) & (horizon >= ROWS))

    def sun(draw):
        disc(draw, rng.uniform(16, 112), rng.uniform(12, 26), 10, (255, 246, 214))

    return mix(drawn(picture, sun), jitter(rng, (190, 112, 58)), far), nearness
