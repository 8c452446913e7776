"""A picture without its background, or with nothing but it: by what stands out, since no encoder is asked where.

The mask is rough (Otsu's threshold on `booth.data.crops.saliency`), but the same for photos and drawings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from booth.data.crops import saliency

GREY = 128
BINS = 64


def subject_only(image: Image.Image) -> Image.Image:
    """The picture with a grey background."""
    return _painted(image, subject_mask(image))


def background_only(image: Image.Image) -> Image.Image:
    """The picture with a grey place where the subject is."""
    return _painted(image, ~subject_mask(image))


def subject_mask(image: Image.Image) -> NDArray[np.bool_]:
    """Where the subject is, (H, W) of the picture."""
    map_ = saliency(image.convert("RGB"))
    mask = Image.fromarray((map_ > otsu(map_)).astype(np.uint8) * 255)
    return np.asarray(mask.resize(image.size, Image.Resampling.BILINEAR)) > 127


def otsu(values: NDArray[np.float64]) -> float:
    """The threshold that separates two groups of values best (Otsu, 1979)."""
    counts, edges = np.histogram(values, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return float(edges[1:-1][np.nan_to_num(below * above * gap**2).argmax()])


def _painted(image: Image.Image, kept: NDArray[np.bool_]) -> Image.Image:
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(np.where(kept[..., None], pixels, np.uint8(GREY)))
