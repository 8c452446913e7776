"""The glyphs as sprites: alpha, colours, shading value and the body parts that marks attach to."""

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ASSETS = Path(__file__).parent / "assets"
SPRITE = 144  # side of a sprite, with room around the glyph for hats and outlines
GLYPH = 84  # longest side of the glyph inside it


@dataclass(frozen=True, eq=False)
class Sprite:
    """A glyph centred in a `SPRITE` x `SPRITE` square; arrays are float32 in 0..1."""

    name: str
    rgb: np.ndarray  # (S, S, 3)
    alpha: np.ndarray  # (S, S)
    halo: np.ndarray  # (S, S), the alpha grown by a few pixels
    value: np.ndarray  # (S, S), luminance spread so that the body's median is 0.55
    box: tuple[int, int, int, int]  # left, top, right, bottom of the glyph in the sprite
    centre: tuple[float, float]  # x, y of the alpha's centre of mass


@lru_cache(maxsize=1)
def _atlas() -> tuple[Image.Image, dict[str, list[int]]]:
    with Image.open(ASSETS / "atlas.png") as image:
        return image.convert("RGBA"), json.loads((ASSETS / "atlas.json").read_text())


def _spread(luminance: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Apply the gamma that moves the median of the inside to 0.55, so dark and light glyphs recolour alike."""
    median = float(np.clip(np.median(luminance[inside]), 0.05, 0.95))
    gamma = float(np.clip(np.log(0.55) / np.log(median), 0.4, 2.5))
    return luminance**gamma


@cache
def sprite(glyph: str) -> Sprite:
    """Load one glyph of the atlas; raises KeyError for an unknown name."""
    atlas, boxes = _atlas()
    cut = atlas.crop(tuple(boxes[glyph]))
    left, top = (SPRITE - cut.width) // 2, (SPRITE - cut.height) // 2
    image = Image.new("RGBA", (SPRITE, SPRITE))
    image.paste(cut, (left, top))
    pixels = np.asarray(image, np.float32) / 255
    alpha = pixels[..., 3]
    halo = image.getchannel("A").filter(ImageFilter.MaxFilter(7)).filter(ImageFilter.GaussianBlur(0.8))
    luminance = pixels[..., :3] @ np.array([0.3, 0.59, 0.11], np.float32)
    ys, xs = np.mgrid[:SPRITE, :SPRITE]
    total = alpha.sum()
    return Sprite(
        name=glyph,
        rgb=pixels[..., :3],
        alpha=alpha,
        halo=np.asarray(halo, np.float32) / 255,
        value=_spread(np.clip(luminance, 0.01, 1), alpha > 0.5).astype(np.float32),
        box=(left, top, left + cut.width, top + cut.height),
        centre=(float((alpha * xs).sum() / total), float((alpha * ys).sum() / total)),
    )


@cache
def part_mask(glyph: str, part: str) -> np.ndarray:
    """Return the (S, S) mask of a part: the outer 42 % of the area on that side, or a band across the middle."""
    shape = sprite(glyph)
    along = shape.alpha.sum(axis=1 if part in ("top", "bottom", "belt") else 0)
    share = np.cumsum(along) / along.sum()
    line = {
        "top": share < 0.42,
        "left": share < 0.42,
        "bottom": share > 0.58,
        "right": share > 0.58,
        "belt": (share > 0.36) & (share < 0.66),
    }[part].astype(np.float32)
    mask = line[:, None] if part in ("top", "bottom", "belt") else line[None, :]
    return np.broadcast_to(mask, (SPRITE, SPRITE))


def _emblem(kind: str, radius: float, centre: tuple[float, float]) -> np.ndarray:
    """Return a (S, S) mask of one star, heart or ring around `centre`."""
    ys, xs = np.mgrid[:SPRITE, :SPRITE].astype(np.float32)
    u, v = (xs - centre[0]) / radius, (ys - centre[1]) / radius
    r = np.hypot(u, v) + 1e-6
    if kind == "star":
        angle = np.arctan2(u, -v)
        wedge = np.abs((angle * 5 / (2 * np.pi) + 0.5) % 1 - 0.5) * 2
        inside = (1.12 - 0.68 * wedge) - r
    elif kind == "heart":
        x, y = u * 1.15, -v * 1.15 + 0.12
        inside = x**2 * y**3 - (x**2 + y**2 - 1) ** 3
    else:
        inside = 0.28 - np.abs(r - 0.72)
    return np.clip(inside * radius / 1.5 + 0.5, 0, 1)


@cache
def pattern_mask(glyph: str, pattern: str) -> np.ndarray:
    """Return the (S, S) mask of a pattern, big enough to be seen when the glyph is 30 pixels wide."""
    shape = sprite(glyph)
    if pattern in ("star", "heart", "ring"):
        side = np.sqrt(shape.alpha.sum())  # thin glyphs get a smaller emblem
        return _emblem(pattern, float(np.clip(0.36 * side, 15, 25)), shape.centre).astype(np.float32)
    ys, xs = np.mgrid[:SPRITE, :SPRITE].astype(np.float32)
    u, v = (xs - SPRITE / 2) / GLYPH, (ys - SPRITE / 2) / GLYPH
    wave = {
        "stripes": lambda: np.sin(2 * np.pi * 4.2 * v),
        "bars": lambda: np.sin(2 * np.pi * 4.2 * u),
        "diagonals": lambda: np.sin(2 * np.pi * 3.1 * (u + v)),
        "checks": lambda: 1.6 * np.sin(2 * np.pi * 2.6 * u) * np.sin(2 * np.pi * 2.6 * v),
        "dots": lambda: np.cos(2 * np.pi * 3.1 * (u + v)) + np.cos(2 * np.pi * 3.1 * (u - v)) - 0.35,
    }[pattern]()
    return np.clip(wave * 2.5 + 0.5, 0, 1).astype(np.float32)
