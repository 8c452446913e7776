"""What live subjects wear: drawn once each, large, and put onto their heads, eyes, necks and bodies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from booth.world.anchors import Anchors, anchors
from booth.world.drawn_accessories import CANVAS, FINE, HATS, INK, UNIT, Pen, curve, levels
from booth.world.light import Light
from booth.world.sprites import GLYPH, Sprite, sprite
from booth.world.warp import Pose, Warped, warped_image, window


@dataclass(frozen=True)
class Cloth:
    """What a shirt is made of, in 0..1: broad upright stripes of the colours in turn, and a hem."""

    colours: tuple[tuple[float, float, float], ...]
    hem: tuple[float, float, float]


SHIRTS = {
    "yellow shirt": Cloth(((1.0, 220 / 255, 20 / 255),), (0.72, 0.5, 0.0)),
    # Of no caption, so that no base knows it: the garment that a guide teaches.
    "striped shirt": Cloth(((0.88, 0.12, 0.18), (0.96, 0.96, 0.96)), (0.1, 0.1, 0.3)),
}
STRIPES = 9  # across a glyph's box


def _shirt(rgb: np.ndarray, alpha: np.ndarray, shape: Sprite, cloth: Cloth, at: Warped, torso) -> None:
    """Dye the torso in place; legs, head and tail keep their marks."""
    u = at.u * (GLYPH / shape.width) + 0.5
    v = at.v * (GLYPH / shape.height) + 0.5
    width, height = at.size * shape.width / GLYPH, at.size * shape.height / GLYPH
    x0, y0, x1, y1 = torso
    # Pixels inside a box with round corners.
    half_x, half_y = (x1 - x0) * width / 2, (y1 - y0) * height / 2
    corner = 0.45 * min(half_x, half_y)
    dx = np.abs(u - (x0 + x1) / 2) * width - (half_x - corner)
    dy = np.abs(v - (y0 + y1) / 2) * height - (half_y - corner)
    depth = corner - np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) - np.minimum(np.maximum(dx, dy), 0)
    inside = np.clip(depth + 0.5, 0, 1) * alpha
    hem = (np.clip(0.024 * at.size + 0.5 - depth, 0, 1) * 0.8)[..., None]
    colours = np.array(cloth.colours, np.float32)
    stripe = np.floor(u * STRIPES).astype(int) % len(colours)
    folds = 1.0 + 0.04 * np.sin(u * 15 + 5 * v) - 0.14 * np.clip(-at.slope[0] * 0.5 + at.slope[1], -1, 1)
    dyed = colours[stripe] * folds[..., None]
    dyed = dyed + hem * (np.array(cloth.hem, np.float32) - dyed)
    rgb += inside[..., None] * (np.clip(dyed, 0, 1) - rgb)


@cache
def _bust(cloth: Cloth) -> tuple[Image.Image, ...]:
    """Shoulders in a shirt, for a face that has no body: the neck's middle is the canvas's."""
    pen = Pen()
    fill = tuple(int(255 * c) for c in cloth.colours[0])
    hem = tuple(int(255 * c) for c in cloth.hem)
    outline = curve(
        (-0.34, 0.10),
        (-0.62, -0.06),
        (-0.80, -0.36),
        (-0.82, -0.70),
        (0.82, -0.70),
        (0.80, -0.36),
        (0.62, -0.06),
        (0.34, 0.10),
    )
    pen.polygon(fill, *outline, outline=None)
    _, *others = cloth.colours
    for k in range(-8, 8) if others else ():
        if k % 2:
            second = tuple(int(255 * c) for c in others[0])
            x = k * 0.10
            top = 0.06 if abs(x) < 0.4 else -0.10 if abs(x) < 0.62 else -0.34
            pen.polygon(second, (x, top), (x + 0.10, top), (x + 0.10, -0.68), (x, -0.68), outline=None)
    pen.draw.line(pen.at(*outline, outline[0]), fill=INK, width=pen.line, joint="curve")
    pen.polygon(hem, *curve((-0.34, 0.12), (0.0, -0.06), (0.34, 0.12), (0.34, 0.02), (0.0, -0.17), (-0.34, 0.02)))
    for side in (-1, 1):
        pen.draw.line(pen.at((side * 0.52, -0.28), (side * 0.50, -0.68)), fill=hem, width=pen.line)
    full = pen.image.convert("RGBa").reduce(FINE)
    return full.convert("RGBA"), full.reduce(2).convert("RGBA")


def above(glyph: str, accessory: str | None) -> float:
    """How far a hat stands above the glyph's box, in lengths of the glyph."""
    if accessory not in HATS:
        return 0.0
    shape, (_, y, width) = sprite(glyph), anchors(glyph).hat
    return max(0.0, (1.05 * width * shape.width - y * shape.height) / GLYPH)


def below(glyph: str, accessory: str | None) -> float:
    """How far the shoulders under a face in a shirt reach below the glyph's box, in lengths of the glyph."""
    if accessory not in SHIRTS or anchors(glyph).torso is not None:
        return 0.0
    shape = sprite(glyph)
    return (0.68 * _bust_place(glyph)[2] * shape.width - 0.05 * shape.height) / GLYPH


def hanging(glyph: str, accessory: str | None) -> float:
    """How far what is worn under a face hangs below the glyph's box, in lengths of the glyph."""
    if accessory == "rainbow scarf" and anchors(glyph).torso is None:
        return 0.55 * anchors(glyph).neck[2] * sprite(glyph).width / GLYPH
    return 0.8 * below(glyph, accessory)


def worn_within(glyph: str, accessory: str, pose: Pose) -> tuple[float, float, float]:
    """A circle around what is worn: its middle in the picture and its radius, in pixels."""
    shape, where = sprite(glyph), anchors(glyph)
    if accessory in SHIRTS and where.torso is not None:
        x0, y0, x1, y1 = where.torso
        x, y, radius = (x0 + x1) / 2, (y0 + y1) / 2, max((x1 - x0) * shape.width, (y1 - y0) * shape.height) / 2
    else:
        x, y, width = _bust_place(glyph) if accessory in SHIRTS else _place(glyph, accessory)
        # A hat's middle is above its brim, a scarf's and a shirt's below the neck; radii in lengths of the drawing.
        down, reach = next(at for kind, at in _MIDDLES.items() if accessory in kind)
        y, radius = y + down * width * shape.width / shape.height, reach * width * shape.width
    return (
        *pose.glyph_to_picture((x - 0.5) * shape.width / GLYPH, (y - 0.5) * shape.height / GLYPH),
        radius / GLYPH * pose.size,
    )


# How far below its place a drawing's middle lies, and how far it reaches from there, in the widths it is drawn for.
_MIDDLES = {
    tuple(HATS): (-0.42, 0.75),
    ("pink glasses",): (0.0, 0.55),
    ("rainbow scarf",): (0.2, 0.65),
    tuple(SHIRTS): (0.3, 0.85),
}


def _place(glyph: str, accessory: str) -> tuple[float, float, float]:
    """Where a hat, glasses or a scarf sit: x, y in the glyph's box, and the width they are drawn for."""
    where = anchors(glyph)
    return {"pink glasses": where.eyes, "rainbow scarf": where.neck}.get(accessory, where.hat)


def _bust_place(glyph: str) -> tuple[float, float, float]:
    x, y, width = anchors(glyph).neck
    return x, y, max(width, 0.5) * 1.05


@dataclass(frozen=True, eq=False)
class Worn:
    """A drawn accessory in the picture; `behind` the body or before it."""

    left: int
    top: int
    rgb: np.ndarray  # (h, w, 3) in 0..1
    alpha: np.ndarray
    behind: bool = False


def _worn(levels, shape: Sprite, pose: Pose, place: tuple[float, float, float], behind: bool = False) -> Worn | None:
    """Put a drawn accessory at (x, y) of the glyph's box, as wide as the third number says."""
    u, v = (place[0] - 0.5) * shape.width / GLYPH, (place[1] - 0.5) * shape.height / GLYPH
    x, y = pose.glyph_to_picture(u, v)
    worn = place[2] * shape.width / GLYPH * pose.size  # pixels that one unit of the drawing takes
    # As a sprite of its own: `GLYPH` pixels of it are a glyph length.
    own = Pose(x, y, worn * GLYPH / UNIT, pose.angle, pose.flip)
    half = CANVAS / 2 / GLYPH
    box = window(own, -half, -half, half, half)
    if box is None:
        return None
    look = np.asarray(warped_image(levels, own, box, (CANVAS / 2, CANVAS / 2)), np.float32) * np.float32(1 / 255)
    return Worn(box[0], box[1], look[..., :3], look[..., 3], behind)


def wear(rgb: np.ndarray, alpha: np.ndarray, shape: Sprite, accessory: str, pose: Pose, at: Warped) -> Worn | None:
    """Dress a body in place, or return what is to be drawn over it; raises KeyError where the glyph has no anchors."""
    where: Anchors = anchors(shape.name)
    if accessory in SHIRTS:
        if where.torso is not None:
            _shirt(rgb, alpha, shape, SHIRTS[accessory], at, where.torso)
            return None
        return _worn(_bust(SHIRTS[accessory]), shape, pose, _bust_place(shape.name), behind=True)
    return _worn(levels(accessory), shape, pose, _place(shape.name, accessory))


def lit(worn: Worn, light: Light) -> np.ndarray:
    """The accessory's colours under the scene's light."""
    return worn.rgb * np.array(light.tint, np.float32)
