"""From a photo to the square that a base takes."""

from __future__ import annotations

import random
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Crop = Literal["center", "random", "subject"]
Box = tuple[int, int, int, int]  # left, top, right, bottom
CROPS: tuple[Crop, ...] = ("center", "random", "subject")
SALIENCY_SIDE = 64  # pixels of the shorter side on which the subject is looked for
RIM = 4  # of those pixels: the border, taken for background
CENTRE_PRIOR = 0.5  # width of the preference for the middle, in half-lengths of the photo's longer side


def square(image: Image.Image, side: int, crop: Crop, rng: random.Random | None = None) -> Image.Image:
    """The largest square of an RGB `image`, where `square_box` places it, resampled to `side` pixels."""
    return cut(image, square_box(image, crop, rng), side)


def square_box(image: Image.Image, crop: Crop, rng: random.Random | None = None) -> Box:
    """Where the largest square of an RGB `image` lies.

    "center" takes the middle, "random" any place that `rng` draws, "subject" the place that stands out most.
    """
    short, slack = min(image.size), max(image.size) - min(image.size)
    if crop == "random":
        if rng is None:
            raise ValueError("a random crop needs rng")
        start = rng.randint(0, slack)
    else:
        start = int(slack * (_subject(image) if crop == "subject" and slack else 0.5))
    left, top = (start, 0) if image.width > image.height else (0, start)
    return left, top, left + short, top + short


def central_box(size: tuple[int, int], shape: tuple[int, int]) -> Box:
    """The largest part in the middle of a picture of that size (width, height) that has the aspect of `shape`."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    width, height = round(shape[0] * scale), round(shape[1] * scale)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def cut(
    image: Image.Image, box: Box, shape: int | tuple[int, int], how: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """The `box` of an image, resampled to a width and height in pixels; one number is a square's side."""
    return image.resize((shape, shape) if isinstance(shape, int) else shape, how, box=box)


def _subject(image: Image.Image) -> float:
    """Where along the slack the square holds the most saliency: 0 at the left or top end, 1 at the other."""
    # Squared, because a wide background that is a little salient must not outweigh a small subject that is very.
    profile = (saliency(image) ** 2).sum(0 if image.width > image.height else 1) + 1e-9
    ones = np.ones(SALIENCY_SIDE)
    inside = np.convolve(profile, ones, mode="valid")  # saliency in the square that starts at each place
    moment = np.convolve(profile * np.arange(len(profile)), ones, mode="valid")
    best = np.flatnonzero(inside >= 0.99 * inside.max())
    # A small subject fits in many squares: of those, the one that has it most in the middle.
    off_middle = np.abs(moment[best] / inside[best] - best - (SALIENCY_SIDE - 1) / 2)
    last = max(1, len(inside) - 1)
    return float(best[(off_middle + 1e-3 * np.abs(best / last - 0.5)).argmin()] / last)


def saliency(image: Image.Image) -> NDArray[np.float64]:
    """How much each place stands out: unlike the border, full of edges, near the middle.

    Returns (h, w), not negative, with a shorter side of 64. Cheap cues that need no network: Mahalanobis distance
    from the border's colours (the background touches the border: Wei et al., ECCV 2012), and gradients.
    """
    scale = SALIENCY_SIDE / min(image.size)
    size = (max(SALIENCY_SIDE, round(image.width * scale)), max(SALIENCY_SIDE, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255  # (h, w, 3)
    h, w, _ = pixels.shape
    rim = np.ones((h, w), dtype=bool)
    rim[RIM:-RIM, RIM:-RIM] = False
    border = pixels[rim]  # (n, 3)
    spread = np.linalg.inv(np.cov(border.T) + 1e-3 * np.eye(3))  # the border's own variety is not salient
    away = pixels - border.mean(0)
    colour = np.sqrt(np.einsum("hwc,cd,hwd->hw", away, spread, away))
    grey = pixels.mean(2)
    edges = np.hypot(*np.gradient(grey))
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    along = x if w >= h else y
    prior = np.exp(-0.5 * (along * CENTRE_PRIOR) ** 2)
    return (colour / max(colour.max(), 1e-9) + edges / max(edges.max(), 1e-9)) * prior
