"""The glyphs as sprites: colours, alpha, shading value and surface, at two scales, ready to be warped."""

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ASSETS = Path(__file__).parent / "assets"
GLYPH = 160  # longest side of a glyph in the atlas
MARGIN = 8  # room around the glyph for outlines


@dataclass(frozen=True, eq=False)
class Sprite:
    """A glyph with a margin around it, at full and at half scale."""

    name: str
    width: int  # of the glyph without its margin
    height: int
    looks: tuple[Image.Image, Image.Image]  # RGBA
    # Four bands that are no colours: value (luminance spread so that the body's median is 0.55), the surface's slope to
    # the right and down (128 is none), and the halo (the alpha grown by a few pixels).
    surfaces: tuple[Image.Image, Image.Image]
    silhouette: np.ndarray  # (height, width) float32 alpha in 0..1
    centre: tuple[float, float]  # of the alpha's mass, from the box's middle, in glyph lengths
    parts: dict[str, tuple[float, float]]  # the band that each part covers along its axis, in glyph lengths


@lru_cache(maxsize=1)
def _atlas() -> tuple[Image.Image, dict[str, list[int]]]:
    with Image.open(ASSETS / "atlas.webp") as image:
        return image.convert("RGBA"), json.loads((ASSETS / "atlas.json").read_text())


def glyph_names() -> tuple[str, ...]:
    """All glyphs of the atlas."""
    return tuple(_atlas()[1])


def _spread(luminance: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Apply the gamma that moves the median of the inside to 0.55, so dark and light glyphs recolour alike."""
    median = float(np.clip(np.median(luminance[inside]), 0.05, 0.95))
    gamma = float(np.clip(np.log(0.55) / np.log(median), 0.4, 2.5))
    return luminance**gamma


def _slopes(alpha: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """How a body swollen from its silhouette slopes, right and down, in -1..1: strong at the rim, none inside."""
    small = alpha.reduce(2)
    height = np.zeros((small.height, small.width), np.float32)
    for radius, share in ((3, 0.4), (7, 0.7), (14, 1.2)):
        height += share * np.asarray(small.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    down, right = np.gradient(height)
    steep = np.sqrt(1 + (14 * right) ** 2 + (14 * down) ** 2)
    grown = []
    for slope in (-14 * right / steep, -14 * down / steep):
        grown.append(
            np.asarray(Image.fromarray(slope.astype(np.float32)).resize(alpha.size, Image.Resampling.BILINEAR))
        )
    return grown[0], grown[1]


def _band(alpha: np.ndarray, axis: int, low: float, high: float) -> tuple[float, float]:
    """Where the share of the area along an axis runs from `low` to `high`, in glyph lengths from the middle."""
    along = alpha.sum(axis=axis)
    share = np.cumsum(along) / along.sum()
    middle = len(along) / 2
    start = -9.0 if low <= 0 else (float(np.searchsorted(share, low)) - middle) / GLYPH
    stop = 9.0 if high >= 1 else (float(np.searchsorted(share, high)) - middle) / GLYPH
    return start, stop


@cache
def sprite(glyph: str) -> Sprite:
    """Load one glyph of the atlas; raises KeyError for an unknown name."""
    atlas, boxes = _atlas()
    left, top, right, bottom = boxes[glyph]
    cut = atlas.crop((left, top, right, bottom))
    image = Image.new("RGBA", (-(-(cut.width + 2 * MARGIN) // 2) * 2, -(-(cut.height + 2 * MARGIN) // 2) * 2))
    image.paste(cut, (MARGIN, MARGIN))
    band = image.getchannel("A")
    alpha = np.asarray(band, np.float32) / 255
    halo = band.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(0.8))
    pixels = np.asarray(image, np.float32)[..., :3] / 255
    value = _spread(np.clip(pixels @ np.array([0.3, 0.59, 0.11], np.float32), 0.01, 1), alpha > 0.5)
    right, down = _slopes(band)
    bands = np.stack([value * 255, 128 + 127 * right, 128 + 127 * down, np.asarray(halo, np.float32)], axis=-1)
    surface = Image.frombytes("CMYK", image.size, np.clip(bands + 0.5, 0, 255).astype(np.uint8).tobytes())
    inside = alpha[MARGIN : MARGIN + cut.height, MARGIN : MARGIN + cut.width]
    ys, xs = np.mgrid[: cut.height, : cut.width]
    total = inside.sum()
    return Sprite(
        name=glyph,
        width=cut.width,
        height=cut.height,
        looks=(image, image.convert("RGBa").reduce(2).convert("RGBA")),
        surfaces=(surface, surface.reduce(2)),
        silhouette=inside,
        centre=(
            float((inside * xs).sum() / total - cut.width / 2) / GLYPH,
            float((inside * ys).sum() / total - cut.height / 2) / GLYPH,
        ),
        parts={
            "top": _band(inside, 1, 0, 0.42),
            "bottom": _band(inside, 1, 0.58, 1),
            "left": _band(inside, 0, 0, 0.42),
            "right": _band(inside, 0, 0.58, 1),
            "belt": _band(inside, 1, 0.36, 0.66),
        },
    )
