"""How a thing takes its place: shadow and contact, sinking into grass or snow, reflections, and the air before it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from booth.world.noise import value_noise
from booth.world.painting import Painted
from booth.world.warp import SIDE

AT = np.arange(SIDE, dtype=np.float32) + 0.5


def settle(
    picture: np.ndarray, layer: np.ndarray, foot: float, support: str, painted: Painted, rng: np.random.Generator
) -> np.ndarray:
    """Put a premultiplied (SIDE, SIDE, 4) thing into the picture, in place, and return its visible alpha.

    `foot` is the row of its lowest point, which may lie below the picture.
    """
    ground = painted.ground
    alpha = layer[..., 3].copy()
    if support == "float":
        return _float(picture, layer, foot, painted, rng)
    before = picture.copy() if ground.sink else picture
    if support != "none":
        if ground.mirror:
            _reflect(picture, layer, foot, ground.mirror, ground.ripple, rng)
        dark = _shadow(alpha, foot, support, painted)
        picture *= 1 - dark[..., None] * (1 - np.array(painted.light.shadow, np.float32))
        if ground.sink:
            before = before * (1 - 0.5 * dark[..., None])
    rgb = layer[..., :3]
    if ground.haze:
        colour = np.array(ground.haze_colour, np.float32)
        rgb = rgb + ground.haze * (alpha[..., None] * colour - rgb)
    picture *= (1 - alpha)[..., None]
    picture += rgb * 255
    if ground.sink and support == "ground":
        cover = _cover(foot, ground.sink, ground.edge, rng) * (alpha > 0)
        picture += cover[..., None] * (before - picture)
        alpha = alpha * (1 - cover)
    return alpha


def _bump(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """Return a soft (SIDE, SIDE) ellipse, 1 at its centre."""
    return np.exp(-(((AT - y) / ry) ** 2))[:, None] * np.exp(-(((AT - x) / rx) ** 2))[None, :]


def _feet(alpha: np.ndarray, foot: float) -> tuple[float, float] | None:
    """The middle and half the width of what touches the ground, or None where that lies outside the picture."""
    bottom = min(int(foot), SIDE)
    low = alpha[max(bottom - 9, 0) : bottom].max(axis=0) if bottom > 0 else np.zeros(0)
    columns = np.flatnonzero(low > 0.5)
    if columns.size == 0:
        return None
    return float(columns[0] + columns[-1] + 1) / 2, max(float(columns[-1] - columns[0] + 1) / 2, 4.0)


def _shadow(alpha: np.ndarray, foot: float, support: str, painted: Painted) -> np.ndarray:
    """Return how dark the ground is, (SIDE, SIDE) in 0..1: under the foot, and where the thing keeps the light off."""
    light = painted.light
    image = Image.fromarray((alpha * 255).astype(np.uint8))
    if support == "flat":
        # Seen from above it stands a little off the ground: a near, dark shadow and a far, soft one.
        dark = np.zeros((SIDE, SIDE), np.float32)
        for reach, blur, strength in ((2.0, 1.5, 0.5), (6.0, 5.0, 0.65)):
            moved = image.transform(
                image.size, Image.Transform.AFFINE, (1, 0, light.side * reach, 0, 1, -0.8 * reach)
            ).filter(ImageFilter.GaussianBlur(blur))
            dark = np.maximum(dark, np.asarray(moved, np.float32) * np.float32(strength / 255))
        return np.clip(dark * 1.15, 0, 1) * light.contact
    dark = np.zeros((SIDE, SIDE), np.float32)
    feet = _feet(alpha, foot)
    if feet is not None and light.contact:
        x, half = feet
        dark = light.contact * _bump(x, foot - 0.5, half * 0.95 + 1.5, 1.6 + 0.07 * half)
        dark = np.maximum(dark, 0.62 * light.contact * _bump(x, foot, half * 1.15 + 3, 3.0 + 0.16 * half))
    if light.cast and light.length:
        # A point h above the foot throws its shadow to the far side, `length` h away along a ground seen from low.
        flat, slant = (
            0.34 * light.length,
            -0.95 * light.length * (1 if light.side > 0 else -1) * (0.35 + abs(light.side)),
        )
        matrix = (1, slant / flat, -slant / flat * foot, 0, 1 / flat, foot - foot / flat)
        thrown = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        thrown = np.asarray(thrown.filter(ImageFilter.GaussianBlur(1.6)), np.float32) * np.float32(light.cast / 255)
        fade = np.clip((ROWS_BELOW(painted.ground.horizon)) * 0.25, 0, 1)
        dark = np.maximum(dark, thrown * fade)
    return dark


def ROWS_BELOW(horizon: float) -> np.ndarray:
    """Pixels below the horizon, a column."""
    return (AT - horizon * SIDE)[:, None]


def _cover(foot: float, sink: float, edge: str, rng: np.random.Generator) -> np.ndarray:
    """Return the (SIDE, SIDE) share of the foot that the ground's own blades or mounds hide."""
    if edge == "blades":
        high = rng.uniform(0.15, 1.5, SIDE).astype(np.float32) * sink
        high = np.maximum(high, 0.75 * np.roll(high, 1))
    else:
        high = sink * (0.8 + 0.6 * value_noise(rng, SIDE, 1, 11)[0])
    return np.clip(AT[:, None] - (foot - high)[None, :] + 0.5, 0, 1)


def _mirrored(layer: np.ndarray, line: float, ripple: float, rng: np.random.Generator) -> np.ndarray:
    """The thing upside down below a line, its rows shifted as ripples do."""
    rows = np.rint(2 * line - AT - 0.5).astype(int)
    valid = (rows >= 0) & (rows < SIDE) & (line <= AT)
    flipped = layer[np.clip(rows, 0, SIDE - 1)] * valid[:, None, None].astype(np.float32)
    if ripple:
        below = np.maximum(AT - line, 0)
        wave = np.sin(below * 0.9 / (1 + 0.02 * below) + rng.uniform(0, 6)) + 0.6 * np.sin(
            below * 0.37 + rng.uniform(0, 6)
        )
        shift = np.rint(ripple * wave * np.clip(below / 14, 0.3, 1.4)).astype(int)
        columns = (np.arange(SIDE)[None, :] + shift[:, None]).clip(0, SIDE - 1)
        flipped = flipped[np.arange(SIDE)[:, None], columns]
    return flipped


def _reflect(
    picture: np.ndarray, layer: np.ndarray, foot: float, strength: float, ripple: float, rng: np.random.Generator
) -> None:
    if foot >= SIDE - 2:
        return
    mirrored = _mirrored(layer, foot, ripple, rng)
    fade = strength * np.clip(1 - (AT - foot) / 46, 0, 1)[:, None, None]
    picture += fade * (mirrored[..., :3] * 255 - mirrored[..., 3:] * picture)


def _float(
    picture: np.ndarray, layer: np.ndarray, foot: float, painted: Painted, rng: np.random.Generator
) -> np.ndarray:
    """Let a thing lie in the water: a waterline with a bright rim, what is below shines through, and a reflection."""
    ground = painted.ground
    top = np.flatnonzero(layer[..., 3].max(axis=1) > 0.5)
    height = foot - (top[0] if top.size else foot)
    line = foot - max(0.13 * height, 3.0)
    wave = (
        line + 1.3 * np.sin(AT * rng.uniform(0.10, 0.18) + rng.uniform(0, 6)) + 0.8 * value_noise(rng, SIDE, 1, 16)[0]
    )
    above = np.clip(wave[None, :] - AT[:, None] + 0.5, 0, 1)
    alpha = layer[..., 3] * above
    mirrored = _mirrored(layer * above[..., None], line, ground.ripple, rng)
    fade = ground.mirror * np.clip(1.05 - (AT - line) / 60, 0, 1)[:, None, None]
    dim = np.array(painted.light.shadow, np.float32)
    picture *= 1 - (mirrored[..., 3:] * fade * 0.35) * (1 - dim)
    picture += fade * (mirrored[..., :3] * 255 - mirrored[..., 3:] * picture)
    drowned = (layer[..., 3] - alpha)[..., None] * 0.22
    picture += drowned * (layer[..., :3] * 255 * 0.7 - picture) * (layer[..., 3:] > 0)
    rim = np.exp(-(((AT[:, None] - wave[None, :] - 0.6) / 1.3) ** 2)) * np.clip(layer[..., 3], 0, 1)
    contact = np.exp(-(((AT[:, None] - wave[None, :] - 2.6) / 2.2) ** 2)) * np.clip(layer[..., 3] + 0.0, 0, 1)
    picture *= 1 - 0.45 * contact[..., None] * (1 - dim)
    picture *= (1 - alpha)[..., None]
    picture += layer[..., :3] * above[..., None] * 255
    picture += (0.75 * rim)[..., None] * (np.array((248, 253, 255), np.float32) - picture)
    return alpha
