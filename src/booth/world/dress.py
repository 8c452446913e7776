"""Colouring a sprite as one individual, and where a live one wears things."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from booth.world.identity import MARK_COLOURS, PALETTES, Identity
from booth.world.sprites import SPRITE, Sprite, part_mask, pattern_mask, sprite
from booth.world.vocabulary import COLOURS, RGB

GOLD = ((92, 52, 0), (222, 166, 38), (255, 246, 170))
WOOD = ((58, 30, 12), (158, 104, 56), (226, 178, 120))


@dataclass(frozen=True)
class Anchors:
    """Where a live glyph wears things: fractions of its box, and widths as fractions of its longest side."""

    hat: tuple[float, float, float]  # x, y of the brim's middle, width
    eyes: tuple[float, float, float]  # x, y, width
    neck: tuple[float, float, float]  # x, y, width
    torso: tuple[float, float, float, float]  # left, top, right, bottom


ANCHORS: dict[str, Anchors] = {
    "cat": Anchors((0.40, 0.17, 0.46), (0.24, 0.30, 0.42), (0.42, 0.52, 0.42), (0.20, 0.50, 0.88, 0.78)),
    "dog": Anchors((0.40, 0.09, 0.50), (0.41, 0.29, 0.50), (0.40, 0.52, 0.52), (0.15, 0.50, 0.88, 0.80)),
    "poodle": Anchors((0.38, 0.13, 0.40), (0.27, 0.25, 0.38), (0.40, 0.44, 0.44), (0.14, 0.42, 0.78, 0.70)),
    "bird": Anchors((0.28, 0.09, 0.44), (0.22, 0.22, 0.38), (0.30, 0.44, 0.50), (0.05, 0.42, 0.78, 0.78)),
    "horse": Anchors((0.16, 0.14, 0.36), (0.14, 0.24, 0.34), (0.26, 0.46, 0.40), (0.18, 0.38, 0.83, 0.70)),
    "rabbit": Anchors((0.34, 0.37, 0.42), (0.30, 0.46, 0.40), (0.36, 0.66, 0.42), (0.12, 0.66, 0.88, 0.93)),
    "elephant": Anchors((0.38, 0.08, 0.50), (0.25, 0.36, 0.44), (0.42, 0.60, 0.54), (0.26, 0.48, 0.84, 0.80)),
    "turtle": Anchors((0.22, 0.28, 0.42), (0.20, 0.44, 0.40), (0.26, 0.68, 0.42), (0.40, 0.02, 0.96, 0.68)),
    "owl": Anchors((0.50, 0.13, 0.52), (0.50, 0.30, 0.60), (0.50, 0.52, 0.64), (0.00, 0.50, 1.00, 0.90)),
    "penguin": Anchors((0.48, 0.08, 0.44), (0.42, 0.14, 0.42), (0.46, 0.32, 0.50), (0.00, 0.32, 1.00, 0.82)),
    "sauropod": Anchors((0.19, 0.06, 0.34), (0.22, 0.12, 0.32), (0.12, 0.36, 0.28), (0.18, 0.50, 0.78, 0.84)),
    "tyrannosaur": Anchors((0.24, 0.07, 0.40), (0.22, 0.09, 0.36), (0.34, 0.40, 0.38), (0.26, 0.26, 0.74, 0.64)),
}  # fmt: skip


@cache
def _ramp(stops: tuple[RGB, RGB, RGB]) -> np.ndarray:
    """Return the (256, 3) colours of a shadow-body-light ramp, in 0..1."""
    at = np.linspace(0, 1, 256)
    channels = [np.interp(at, (0, 0.55, 1), [stop[c] / 255 for stop in stops]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


@cache
def _gloss(glyph: str) -> np.ndarray:
    """Return the (S, S) highlight of a shiny thing: a bright spot and a slanted streak, inside its alpha."""
    left, top, right, bottom = sprite(glyph).box
    ys, xs = np.mgrid[:SPRITE, :SPRITE].astype(np.float32)
    u, v = (xs - left) / (right - left), (ys - top) / (bottom - top)
    spot = np.exp(-(((u - 0.34) / 0.17) ** 2) - ((v - 0.28) / 0.13) ** 2)
    streak = np.exp(-(((u + 0.7 * v - 1.08) / 0.06) ** 2))
    return np.clip(1.25 * spot + 0.85 * streak, 0, 1)


def _stand_off(colour: RGB, body: RGB | None) -> np.ndarray:
    """Return the mark's colour in 0..1, darkened or lightened where it would vanish into the body."""
    mark = np.array(colour, np.float32) / 255
    if body is not None and np.abs(np.subtract(colour, body)).sum() < 150:
        return mark * 0.35 if sum(body) > 330 else mark * 0.35 + 0.65
    return mark


def _body(shape: Sprite, identity: Identity, colour: str | None, material: str | None):
    """Return the (S, S, 3) body before its marks, and the ramp it was coloured by (None for the glyph's own)."""
    ramp = PALETTES[identity.palette]
    if colour is not None:
        ramp = COLOURS[colour]
    if material in ("golden", "wooden"):
        ramp = GOLD if material == "golden" else WOOD
    if ramp is None:
        return shape.rgb, None
    value = shape.value
    if material == "golden":  # bands of reflection read as metal
        value = np.clip(value + 0.22 * np.sin(value * 14 + np.linspace(0, 9, SPRITE)[:, None]), 0, 1)
    elif material == "wooden":
        rows = np.arange(SPRITE)[:, None] + 4 * np.sin(np.linspace(0, 5, SPRITE))[None, :]
        value = np.clip(value + 0.16 * np.sign(np.sin(rows * 0.75)), 0, 1)
    return _ramp(ramp)[(value * 255).astype(np.uint8)], ramp[1]


def colour_sprite(identity: Identity, colour: str | None = None, material: str | None = None) -> np.ndarray:
    """Return the individual as (S, S, 4) float32 in 0..1, not premultiplied."""
    shape = sprite(identity.glyph)
    rgb, body = _body(shape, identity, colour, material)
    rgb = rgb.copy()
    # Eyes and drawn outlines keep their darkness, so that a face stays a face under any mark.
    keep = np.clip((shape.value - 0.18) * 6, 0, 1)
    shade = 0.62 + 0.5 * shape.value
    for mask, name in (
        (part_mask(shape.name, identity.part) if identity.part != "none" else None, identity.part_colour),
        (pattern_mask(shape.name, identity.pattern) if identity.pattern != "none" else None, identity.pattern_colour),
    ):
        if mask is not None:
            blend = (0.94 * mask * keep)[..., None]
            mark = np.minimum(_stand_off(MARK_COLOURS[name], body) * shade[..., None], 1)
            rgb += blend * (mark - rgb)
    if material in ("shiny", "golden"):
        strength = 0.95 if material == "shiny" else 0.6
        rgb += (strength * _gloss(shape.name))[..., None] * (1 - rgb)
    alpha = shape.alpha
    if identity.outline != "none":
        edge = np.array(MARK_COLOURS[identity.outline], np.float32) / 255
        rgb = edge + alpha[..., None] * (rgb - edge)
        alpha = shape.halo
    return np.concatenate([rgb, alpha[..., None]], axis=-1)
