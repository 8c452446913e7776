"""A first mask without a network: what has other colours than the border, as one piece.

The subject's and the background's colours are each told by a histogram. They begin with what stands out and what
touches the border, and are learned anew from the mask that follows from them (the scheme of GrabCut, Rother et al.
2004, with smoothing in the place of the cut). It is a start to paint from: where the two share their colours it errs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from booth.data.crops import SALIENCY_SIDE, saliency

SIDE = 128  # pixels of the shorter side on which it is looked for
BINS = 12  # of each colour
ROUNDS = 6
RIM = 3  # pixels of the border: background, but for what the subject itself covers of it
CERTAIN = 2.5  # how much the place in the picture says against the colours, in nats
SMOOTH = 2.0  # pixels over which neighbours agree

Mask = NDArray[np.bool_]


def outline(image: Image.Image) -> Image.Image:
    """A mask of an RGB picture in its size, L, 255 where the subject may be."""
    scale = SIDE / min(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.int64)
    bins = ((pixels * BINS) // 256) @ np.array([BINS * BINS, BINS, 1])  # (h, w)
    stands_out = _spread(saliency(image), size)
    prior = CERTAIN * (2 * stands_out - 1)
    mask = stands_out > np.quantile(stands_out, 0.7)
    border = np.ones_like(mask)
    border[RIM:-RIM, RIM:-RIM] = False
    for _ in range(ROUNDS):
        ratio = _told(bins, mask) - _told(bins, ~mask | border)
        evidence = ratio[bins] + prior
        mask = _blurred(evidence, SMOOTH) > 0
        if not 0 < mask.mean() < 1:
            break
    whole = _filled(_foremost(mask, stands_out))
    return (
        Image.fromarray(whole.astype(np.uint8) * 255)
        .resize(image.size, Image.Resampling.BILINEAR)
        .point([0] * 128 + [255] * 128)
    )


def _spread(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """How much each place stands out, from 0 to 1 by rank, in another size and smooth."""
    order = values.ravel().argsort().argsort().reshape(values.shape) / max(1, values.size - 1)
    found = Image.fromarray(order.astype(np.float32))
    blurred = found.resize(size, Image.Resampling.BICUBIC)
    smooth = _blurred(np.asarray(blurred, dtype=np.float64), 4 * SIDE / SALIENCY_SIDE)
    y, x = np.mgrid[-1 : 1 : smooth.shape[0] * 1j, -1 : 1 : smooth.shape[1] * 1j]
    smooth = smooth * np.exp(-0.5 * (x**2 + y**2))
    return (smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)


def _told(bins: NDArray[np.int64], where: Mask) -> NDArray[np.float64]:
    """The log probability of each colour in a part of the picture; colours beside those that were seen count too."""
    counts = np.bincount(bins[where], minlength=BINS**3).reshape(BINS, BINS, BINS).astype(np.float64)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        low, high = (np.take(padded, range(s, s + BINS), axis) for s in (0, 2))
        counts = 0.5 * counts + 0.25 * (low + high)
    counts = counts.ravel() + 0.5 / BINS
    return np.log(counts / counts.sum())


def _blurred(values: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """A Gaussian blur."""
    reach = int(3 * radius)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        edges = [(reach, reach) if a == axis else (0, 0) for a in range(2)]
        padded = np.pad(values, edges, mode="edge")
        length = values.shape[axis]
        values = sum(
            (weight * np.take(padded, range(at, at + length), axis) for at, weight in enumerate(kernel)),
            start=np.zeros_like(values),
        )
    return values


def _foremost(mask: Mask, stands_out: NDArray[np.float64]) -> Mask:
    """The piece of a mask in which something stands out most; all of it where it is empty."""
    if not mask.any():
        return mask
    start = np.unravel_index(np.where(mask, stands_out, -1).argmax(), mask.shape)
    return _piece(mask, (int(start[0]), int(start[1])))


def _filled(mask: Mask) -> Mask:
    """Without holes: background is what is reached from the border."""
    outside = np.pad(~mask, 1, constant_values=True)
    return ~_piece(outside, (0, 0))[1:-1, 1:-1]


def _piece(mask: Mask, start: tuple[int, int]) -> Mask:
    """What hangs together with a place, over edges."""
    found = np.zeros_like(mask)
    found[start] = True
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= mask
        if (grown == found).all():
            return found
        found = grown
