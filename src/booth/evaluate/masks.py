"""A picture without its background, or with nothing but it.

Where the subject is, is known from the photo's own mask, from a segmenter, or roughly from what stands out: Otsu's
threshold on `booth.data.crops.saliency`, since no encoder is asked where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from booth.core.encoder import content_of
from booth.core.errors import NotAvailableError
from booth.core.json_values import Json
from booth.data.crops import saliency
from booth.data.photos import Photo
from booth.evaluate.encoders.public import cached, weights_hash
from booth.families.segmentation import CLIPSEG, Segmenter
from booth.train.setup import choose_device

GREY = 128
BINS = 64
Mask = NDArray[np.bool_]
Where = Callable[[Image.Image], Mask]


class Masks:
    """Where the subject is: as a photo's mask has it, else as a segmenter sees it, else by what stands out.

    Each picture is looked at once.
    """

    def __init__(self, noun: str, photos: Iterable[Photo]) -> None:
        self._noun = noun
        masks = {content_of(p.image): p.mask for p in photos if p.mask is not None}
        self._known = {key: np.asarray(mask) > 127 for key, mask in masks.items()}
        self._about: dict[str, Any] = {"painted": len(masks), "by": "what stands out"}
        self._segmenter: Segmenter | None = None

    def __call__(self, image: Image.Image) -> Mask:
        """(H, W) of the picture."""
        key = content_of(image)
        if key not in self._known:
            found = self._segmenter(image.convert("RGB"), self._noun) if self._segmenter else None
            self._known[key] = found if found is not None and found.any() else standing_out(image)
        return self._known[key]

    def about(self) -> dict[str, Json]:
        """How many photos brought a mask, and what made all others."""
        return dict(self._about)

    def use_segmenter(self, scale: str) -> None:
        """Ask CLIPSeg, if it is cached, but not on a "tiny" base, whose little pictures are like none it has seen."""
        if scale == "tiny":
            return
        with suppress(NotAvailableError):
            folder = cached(CLIPSEG)
            self._segmenter = Segmenter(str(folder), choose_device(None))
            self._about |= {"by": CLIPSEG, "weights": weights_hash(folder)}


def subject_only(image: Image.Image, where: Where | None) -> Image.Image:
    """The picture with a grey background."""
    return _painted(image, (where or standing_out)(image), np.uint8(GREY))


def background_only(image: Image.Image, where: Where | None) -> Image.Image | None:
    """The picture with the background's mean colour where the subject is; none where the subject is everywhere.

    The subject goes with its rim and with what it surrounds, and leaves no outline that two pictures could share.
    """
    away = _solid((where or standing_out)(image))
    if away.all():
        return None
    background = np.asarray(image.convert("RGB"))[~away]
    return _painted(image, ~away, background.mean(axis=0).astype(np.uint8))


def standing_out(image: Image.Image) -> Mask:
    """Where something stands out, (H, W) of the picture."""
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


def _solid(mask: Mask) -> Mask:
    """The mask, grown by a thirty-second of the shorter side and without holes."""
    height, width = mask.shape
    grown = Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * max(1, min(mask.shape) // 32) + 1))
    framed = Image.new("L", (width + 2, height + 2))  # so that the outside is one piece
    framed.paste(grown, (1, 1))
    ImageDraw.floodfill(framed, (0, 0), 2)
    return np.asarray(framed)[1:-1, 1:-1] != 2


def _painted(image: Image.Image, kept: Mask, colour: NDArray[np.uint8] | np.uint8) -> Image.Image:
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(np.where(kept[..., None], pixels, colour))
