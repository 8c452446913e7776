"""Colouring a warped sprite as one individual in a given light: body, marks, stuff, roundness and gloss."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from booth.world.identity import MARK_COLOURS, PALETTES, Identity
from booth.world.light import Light
from booth.world.sprites import Sprite
from booth.world.vocabulary import COLOURS, RGB
from booth.world.warp import Warped

GOLD = ((92, 52, 0), (222, 166, 38), (255, 246, 170))
WOOD = ((58, 30, 12), (158, 104, 56), (226, 178, 120))
ROUNDNESS = {"none": 0.12, "soft": 0.34, "round": 0.62}  # how much light and shade a body shows
TILE = 256  # side of a texture, in pixels of the atlas's scale
REPEATS = 1.0  # glyph lengths that a texture covers before it comes again


@cache
def _ramp(stops: tuple[RGB, RGB, RGB]) -> np.ndarray:
    """Return the (256, 3) colours of a shadow-body-light ramp, in 0..1."""
    at = np.linspace(0, 1, 256)
    channels = [np.interp(at, (0, 0.55, 1), [stop[c] / 255 for stop in stops]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


@cache
def texture(name: str) -> np.ndarray:
    """Return a (TILE, TILE) tile of what a surface is like up close, about -1..1, mean 0; it repeats seamlessly."""
    rng = np.random.default_rng([len(name), ord(name[0])])
    ys, xs = np.mgrid[:TILE, :TILE].astype(np.float32) / TILE * 2 * np.pi
    noise = rng.normal(size=(TILE, TILE)).astype(np.float32)
    if name == "fur":  # short hairs, downwards and slightly apart
        lean = np.roll(_blurred(noise, 1.6, 7), 3, axis=1) + 0.7 * _blurred(rng.normal(size=noise.shape), 1.0, 4)
        tile = lean + 0.4 * _blurred(rng.normal(size=noise.shape), 9, 9)
    elif name == "felt":
        tile = _blurred(noise, 2.2, 2.2) + 0.6 * _blurred(rng.normal(size=noise.shape), 7, 7)
    elif name == "grain":
        tile = _blurred(noise, 1.1, 1.1)
    elif name == "speckle":  # the flecks of stoneware
        spots = _blurred(noise, 1.5, 1.5)
        spots /= spots.std()
        tile = 2.2 * (spots > 2.1) - 2.6 * (spots < -1.75) + 0.25 * _blurred(rng.normal(size=noise.shape), 6, 6)
    else:  # knit: rows of slanted loops
        tile = np.sin(26 * ys + 1.9 * np.abs(np.sin(14 * xs))) + 0.6 * np.sin(28 * xs)
    tile = tile - tile.mean()
    return np.clip(tile / (2.2 * tile.std()), -1.4, 1.4).astype(np.float32)


def _blurred(noise: np.ndarray, across: float, down: float) -> np.ndarray:
    """Blur seamlessly by Gaussians of the given deviations, and bring back to unit deviation."""
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None, :]
    kernel = np.exp(-2 * np.pi**2 * ((across * fx) ** 2 + (down * fy) ** 2))
    field = np.fft.ifft2(np.fft.fft2(noise) * kernel).real
    return (field / field.std()).astype(np.float32)


@cache
def _texture_image(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The tile at full and half scale."""
    tile = texture(name)
    half = Image.fromarray(tile).filter(ImageFilter.GaussianBlur(0)).reduce(2)
    return tile, np.asarray(half) * np.float32(1.25)


def _textured(rgb: np.ndarray, name: str, at: Warped) -> np.ndarray:
    full, half = _texture_image(name)
    tile = full if at.size >= 110 else half
    side = len(tile)
    rows = (at.v * (side / REPEATS)).astype(np.int32) % side
    columns = (at.u * (side / REPEATS)).astype(np.int32) % side
    amount = {"fur": 0.12, "felt": 0.09, "grain": 0.09, "speckle": 0.13, "knit": 0.10}[name]
    bump = tile[rows, columns] * np.float32(amount)
    return rgb * (1 + bump)[..., None] + (0.25 * bump)[..., None]


def part_mask(sprite: Sprite, part: str, at: Warped) -> np.ndarray:
    """Return the (h, w) mask of a part: the outer 42 % of the area on that side, or a band across the middle."""
    low, high = sprite.parts[part]
    along = at.u if part in ("left", "right") else at.v
    return np.clip(np.minimum(along - low, high - along) * at.size + 0.5, 0, 1)


def _emblem(kind: str, radius: float, sprite: Sprite, at: Warped) -> np.ndarray:
    """Return a (h, w) mask of one star, heart or ring around the sprite's centre of mass."""
    u, v = (at.u - sprite.centre[0]) / radius, (at.v - sprite.centre[1]) / radius
    r = np.hypot(u, v) + 1e-6
    if kind == "star":
        angle = np.arctan2(u, -v)
        wedge = np.abs((angle * np.float32(5 / (2 * np.pi)) + 0.5) % 1 - 0.5) * 2
        inside = (1.12 - 0.68 * wedge) - r
    elif kind == "heart":
        x, y = u * 1.15, -v * 1.15 + 0.12
        inside = x**2 * y**3 - (x**2 + y**2 - 1) ** 3
    else:
        inside = 0.28 - np.abs(r - 0.72)
    return np.clip(inside * (radius * at.size) / 1.4 + 0.5, 0, 1)


def pattern_mask(sprite: Sprite, pattern: str, at: Warped) -> np.ndarray:
    """Return the (h, w) mask of a pattern, bold enough to be seen when the glyph fills half the picture."""
    if pattern in ("star", "heart", "ring"):
        side = float(np.sqrt(sprite.silhouette.mean() * sprite.width * sprite.height)) / 160  # thin ones get less
        return _emblem(pattern, float(np.clip(0.36 * side, 0.17, 0.30)), sprite, at)
    turn = np.float32(2 * np.pi)
    u, v = at.u, at.v
    frequency = 4.2
    if pattern == "stripes":
        wave = np.sin(turn * 4.2 * v)
    elif pattern == "bars":
        wave = np.sin(turn * 4.2 * u)
    elif pattern == "diagonals":
        wave = np.sin(turn * 3.1 * (u + v))
    elif pattern == "checks":
        wave = 1.6 * np.sin(turn * 2.6 * u) * np.sin(turn * 2.6 * v)
    elif pattern == "dots":
        wave = np.cos(turn * 3.1 * (u + v)) + np.cos(turn * 3.1 * (u - v)) - 0.35
    elif pattern == "zigzag":
        wave = np.sin(turn * 3.4 * (v + 0.16 * np.abs((5 * u) % 2 - 1)))
    else:  # patches, as on a cow
        wave = np.sin(turn * 1.7 * u + 1.2 * np.sin(turn * 1.1 * v)) + np.sin(turn * 1.9 * v + 1.4 * np.sin(turn * u))
        wave = wave - 0.55
    return np.clip(wave * np.float32(at.size / (2 * np.pi * frequency)) + 0.5, 0, 1)


def _stand_off(colour: RGB, body: RGB | None) -> np.ndarray:
    """Return the mark's colour in 0..1, darkened or lightened where it would vanish into the body."""
    mark = np.array(colour, np.float32) / 255
    if body is not None and np.abs(np.subtract(colour, body)).sum() < 150:
        return mark * 0.35 if sum(body) > 330 else mark * 0.35 + 0.65
    return mark


def _body(identity: Identity, colour: str | None, material: str | None, at: Warped) -> tuple[np.ndarray, RGB | None]:
    """Return the (h, w, 3) body before its marks, and the ramp's colour (None for the glyph's own)."""
    ramp = PALETTES[identity.palette]
    if colour is not None:
        ramp = COLOURS[colour]
    if material in ("golden", "wooden"):
        ramp = GOLD if material == "golden" else WOOD
    if ramp is None:
        return at.rgb.copy(), None
    value = at.value
    if material == "golden":  # bands of reflection read as metal
        value = value + 0.20 * np.sin(value * 13 + 7 * at.v + 2 * at.u) + 0.18 * at.slope[1]
    elif material == "wooden":  # year rings, cut lengthwise
        rings = at.v * 26 + 1.6 * np.sin(5 * at.u) + 0.8 * np.sin(11 * at.u + 9 * at.v)
        grain = 0.09 * np.sin(2 * np.pi * rings * 0.5) + 0.05 * np.sin(60 * at.v + 3 * np.sin(7 * at.u))
        value = value + grain * np.clip(value * 3 - 0.4, 0, 1)  # eyes and drawn lines stay dark
    return _ramp(ramp)[(np.clip(value, 0, 1) * 255).astype(np.uint8)], ramp[1]


def _lit(rgb: np.ndarray, identity: Identity, material: str | None, light: Light, at: Warped) -> np.ndarray:
    """Light the body from the scene's side: its rim darkens away from the light and brightens towards it."""
    across, down = light.side, -light.up
    norm = float(np.hypot(across, down)) or 1.0
    facing = (at.slope[0] * np.float32(across / norm)) + at.slope[1] * np.float32(down / norm)
    strength = ROUNDNESS[identity.shading] * light.contrast
    bright = np.clip(facing, 0, 1) * np.float32(0.55 * strength)
    dark = np.clip(-facing, 0, 1) * np.float32(0.95 * strength)
    rgb = rgb * (1 - dark)[..., None]
    rgb += bright[..., None] * (np.array(light.glow, np.float32) - rgb)
    if material in ("shiny", "golden"):
        rgb += _gloss(material, light, at)[..., None] * (1 - rgb)
    return rgb


def _gloss(material: str, light: Light, at: Warped) -> np.ndarray:
    """Return the (h, w) highlight of a polished thing: a bright rim on the lit side and a slanted reflection."""
    side = 1.0 if light.side > 0 else -1.0
    # In the picture, so that the highlight stays on the lit side of a mirrored thing.
    facing = at.slope[0] * side * 0.6 - at.slope[1] * 0.8
    spot = np.exp(-(((facing - 0.52) / 0.16) ** 2))
    window = np.exp(-(((at.u * 0.8 + at.v + 0.16) / 0.045) ** 2) - ((at.u - 0.8 * at.v) / 0.24) ** 2)
    return np.clip((0.95 if material == "shiny" else 0.6) * (spot + 0.75 * window), 0, 0.92)


def dress(
    sprite: Sprite, identity: Identity, colour: str | None, material: str | None, light: Light, at: Warped
) -> tuple[np.ndarray, np.ndarray]:
    """Return the individual's (h, w, 3) colours and (h, w) alpha, float32 in 0..1."""
    rgb, body = _body(identity, colour, material, at)
    marks = []
    if identity.part != "none":
        marks.append((part_mask(sprite, identity.part, at), identity.part_colour))
    if identity.pattern != "none":
        marks.append((pattern_mask(sprite, identity.pattern, at), identity.pattern_colour))
    if marks:
        # Eyes and drawn outlines keep their darkness, so that a face stays a face under any mark.
        keep = np.clip((at.value - 0.18) * 6, 0, 0.94)
        shade = (0.42 + 0.80 * at.value)[..., None]
        for mask, name in marks:
            mark = np.minimum(_stand_off(MARK_COLOURS[name], body) * shade, 1)
            rgb += (mask * keep)[..., None] * (mark - rgb)
    if identity.texture != "none" and material is None:
        rgb = _textured(rgb, identity.texture, at)
    rgb = _lit(rgb, identity, material, light, at)
    alpha = at.alpha
    if identity.outline != "none":
        edge = np.array(MARK_COLOURS[identity.outline], np.float32) / 255
        rgb = edge + alpha[..., None] * (rgb - edge)
        alpha = at.halo
    return rgb, alpha
