"""Grounds and floors that are made once, in squares that repeat seamlessly, and then laid into pictures."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256


def _noise(rng: np.random.Generator, across: float, down: float | None = None) -> np.ndarray:
    """Seamless Gaussian noise of unit deviation, blurred by so many pixels across and down."""
    down = across if down is None else down
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :]
    kernel = np.exp(-2 * np.pi**2 * ((across * fx) ** 2 + (down * fy) ** 2))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * kernel).real
    return (field / field.std()).astype(np.float32)


def _toned(stops, weight: np.ndarray) -> Image.Image:
    """Colours by a weight in 0..1 along the stops."""
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(np.clip(weight, 0, 1), at, [s[c] for s in stops]) for c in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@cache
def grass() -> Image.Image:
    """Grass from above: clumps and blades."""
    rng = np.random.default_rng(1)
    weight = 0.5 + 0.13 * _noise(rng, 14) + 0.15 * _noise(rng, 3, 4) + 0.14 * _noise(rng, 0.8, 2.4)
    return _toned(((30, 84, 24), (70, 138, 44), (126, 186, 70), (176, 214, 104)), weight)


@cache
def sand() -> Image.Image:
    """Fine sand with soft hollows."""
    rng = np.random.default_rng(2)
    weight = 0.5 + 0.12 * _noise(rng, 12, 5) + 0.10 * _noise(rng, 4, 2) + 0.08 * _noise(rng, 0.7)
    return _toned(((196, 158, 104), (232, 200, 146), (250, 228, 184)), weight)


@cache
def snow() -> Image.Image:
    """Drifted snow."""
    rng = np.random.default_rng(3)
    weight = 0.62 + 0.20 * _noise(rng, 22, 9) + 0.07 * _noise(rng, 6, 3) + 0.04 * _noise(rng, 0.7)
    return _toned(((176, 196, 230), (222, 232, 248), (250, 252, 255), (255, 255, 255)), weight)


@cache
def earth() -> Image.Image:
    """Trodden earth with small stones."""
    rng = np.random.default_rng(4)
    weight = 0.5 + 0.13 * _noise(rng, 16) + 0.12 * _noise(rng, 4) + 0.10 * _noise(rng, 0.9)
    image = _toned(((96, 64, 38), (158, 114, 72), (206, 164, 116)), weight)
    draw = ImageDraw.Draw(image)
    for x, y, r in zip(rng.uniform(6, 250, 90), rng.uniform(6, 250, 90), rng.uniform(1, 3, 90)):
        draw.ellipse((x - r, y - r + 1, x + r, y + r + 1), fill=(92, 64, 44))
        draw.ellipse((x - r, y - r, x + r, y + r * 0.7), fill=(190, 164, 134))
    return image


@cache
def leaves() -> Image.Image:
    """Fallen leaves in autumn colours."""
    rng = np.random.default_rng(5)
    image = _toned(((74, 44, 24), (128, 84, 44), (150, 110, 56)), 0.5 + 0.25 * _noise(rng, 5))
    draw = ImageDraw.Draw(image)
    tones = ((206, 72, 24), (236, 128, 30), (250, 184, 52), (168, 52, 28), (196, 112, 44), (140, 84, 36))
    for _ in range(620):
        x, y, turn, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0, 6.3), rng.uniform(4, 8)
        tone = tones[int(rng.integers(6))]
        shape = [(r * np.cos(a) * (1 if k % 2 == 0 else 0.55), 0.75 * r * np.sin(a) * (1 if k % 2 == 0 else 0.55))
                 for k, a in enumerate(np.linspace(0, 2 * np.pi, 10, endpoint=False))]  # fmt: skip
        c, s = np.cos(turn), np.sin(turn)
        for dx in (-SIDE, 0, SIDE):
            for dy in (-SIDE, 0, SIDE):
                if -12 < x + dx < SIDE + 12 and -12 < y + dy < SIDE + 12:
                    points = [(x + dx + c * u - s * v, y + dy + s * u + c * v) for u, v in shape]
                    draw.polygon([(u + 1, v + 1.5) for u, v in points], fill=(70, 40, 22))
                    draw.polygon(points, fill=tone)
    return image


def _stone(draw: ImageDraw.ImageDraw, box, radius: float, tone, light: int = 26) -> None:
    """A worn stone: dark joint, body, and a lit upper edge."""
    x0, y0, x1, y1 = box
    draw.rounded_rectangle((x0, y0 + 2, x1, y1 + 2), radius, fill=tuple(max(0, int(c * 0.45)) for c in tone))
    draw.rounded_rectangle((x0, y0, x1, y1), radius, fill=tone)
    inner = tuple(min(255, c + light) for c in tone)
    draw.rounded_rectangle((x0 + 2, y0 + 1.5, x1 - 4, y0 + (y1 - y0) * 0.55), radius * 0.8, fill=inner)
    middle = tuple(min(255, c + light // 2) for c in tone)
    draw.rounded_rectangle((x0 + 4, y0 + 5, x1 - 3, y1 - 3), radius * 0.8, fill=middle)


@cache
def cobbles() -> Image.Image:
    """Rounded paving stones in rows, with dark joints."""
    rng = np.random.default_rng(6)
    image = _toned(((40, 37, 36), (70, 64, 60)), 0.5 + 0.2 * _noise(rng, 2)).resize((2 * SIDE, 2 * SIDE))
    draw = ImageDraw.Draw(image)
    size = 2 * SIDE / 12
    for row in range(12):
        shift = (row % 2) * size / 2
        for column in range(13):
            grey = rng.uniform(104, 164)
            warm = rng.uniform(-10, 16)
            tone = (int(grey + warm), int(grey + 0.3 * warm), int(grey - 0.6 * warm))
            x, y = column * size - shift, row * size
            inset = rng.uniform(2, 4, 4)
            box = (x + inset[0], y + inset[1], x + size - inset[2], y + size - inset[3] - 1)
            if column in (0, 12) and shift:
                rng = np.random.default_rng([6, row])  # the two halves of a stone that crosses the border are alike
                box = (x + 3, y + 3, x + size - 3, y + size - 4)
                tone = (int(118 + 4 * (row % 5)),) * 3
            _stone(draw, box, 12, tone)
    small = np.asarray(image.reduce(2), np.float32)
    return Image.fromarray(np.clip(small * (1 + 0.07 * _noise(rng, 0.8))[..., None], 0, 255).astype(np.uint8))


@cache
def planks() -> Image.Image:
    """Floorboards along the rows, with grain, knots and joints; the tone is a middle brown."""
    rng = np.random.default_rng(7)
    boards, high = 8, SIDE // 8
    weight = np.zeros((SIDE, SIDE), np.float32)
    for board in range(boards):
        rows = slice(board * high, (board + 1) * high)
        ys = np.arange(SIDE)[:, None] + 5 * _noise(rng, 40, 3)
        grain = 0.10 * np.sin(ys * rng.uniform(0.9, 1.5)) + 0.10 * _noise(rng, 26, 1.0) + 0.06 * _noise(rng, 8, 0.6)
        weight[rows] = (0.5 + rng.normal(0, 0.13) + grain)[rows]
    image = _toned(((92, 52, 26), (164, 104, 58), (214, 156, 98), (238, 190, 134)), weight)
    draw = ImageDraw.Draw(image)
    for board in range(boards):
        y = board * high
        for x in rng.uniform(0, SIDE, 1):
            draw.line([(x, y), (x, y + high)], fill=(58, 32, 18), width=2)
            draw.line([(x + 2, y), (x + 2, y + high)], fill=(226, 176, 120), width=1)
            for dy in (6, high - 7):
                draw.ellipse((x - 7, y + dy - 1, x - 5, y + dy + 1), fill=(60, 36, 22))
        draw.line([(0, y), (SIDE, y)], fill=(54, 30, 16), width=2)
        draw.line([(0, y + 2), (SIDE, y + 2)], fill=(222, 172, 116), width=1)
    return image


@cache
def slabs() -> Image.Image:
    """Concrete paving slabs."""
    rng = np.random.default_rng(8)
    weight = 0.55 + 0.10 * _noise(rng, 14) + 0.07 * _noise(rng, 0.8)
    high = SIDE // 4
    ys, xs = np.mgrid[:SIDE, :SIDE]
    tone = rng.normal(0, 0.09, (4, 4)).astype(np.float32)
    image = _toned(((128, 124, 120), (176, 172, 166), (212, 208, 200)), weight + tone[ys // high, xs // high])
    draw = ImageDraw.Draw(image)
    for k in range(4):
        at = k * high
        draw.line([(0, at), (SIDE, at)], fill=(96, 92, 90), width=3)
        draw.line([(at, 0), (at, SIDE)], fill=(96, 92, 90), width=3)
        draw.line([(0, at + 3), (SIDE, at + 3)], fill=(216, 212, 206), width=1)
    return image


@cache
def asphalt() -> Image.Image:
    """Road surface."""
    rng = np.random.default_rng(9)
    return _toned(((54, 54, 60), (88, 88, 94), (124, 124, 128)), 0.5 + 0.12 * _noise(rng, 18) + 0.14 * _noise(rng, 0.8))


@cache
def pile() -> Image.Image:
    """The long pile of a white rug: tufts that lie this way and that, with shaded roots."""
    rng = np.random.default_rng(10)
    weight = 0.66 + 0.08 * _noise(rng, 9) + 0.14 * _noise(rng, 1.6, 2.6) + 0.07 * _noise(rng, 0.7, 1.4)
    return _toned(((176, 168, 158), (222, 215, 206), (246, 242, 236), (255, 255, 253)), weight)


@cache
def weave() -> Image.Image:
    """The short pile of a carpet, as a multiplier around mid grey."""
    rng = np.random.default_rng(11)
    return _toned(((104, 104, 104), (150, 150, 150)), 0.5 + 0.16 * _noise(rng, 1.0, 0.7) + 0.10 * _noise(rng, 8))


@cache
def foliage() -> Image.Image:
    """Dense leaves far away, for woods and thickets."""
    rng = np.random.default_rng(12)
    image = _toned(((6, 30, 16), (20, 62, 30)), 0.5 + 0.3 * _noise(rng, 10))
    draw = ImageDraw.Draw(image)
    for k in range(1500):
        x, y, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(2, 6)
        t = 0.15 + 0.7 * k / 1500 + rng.normal(0, 0.12)
        tone = tuple(int(np.clip(a + (b - a) * t, 0, 255)) for a, b in zip((10, 44, 22), (84, 146, 62)))
        for dx in (-SIDE, 0, SIDE):
            draw.ellipse((x + dx - r, y - r * 0.6, x + dx + r, y + r * 0.6), fill=tone)
    return image


@cache
def crumpled_water() -> np.ndarray:
    """Two scales of waves as a height field of unit deviation, (SIDE, SIDE) float32."""
    rng = np.random.default_rng(13)
    return (0.75 * _noise(rng, 9, 4) + 0.55 * _noise(rng, 4, 2)).astype(np.float32)
