"""Gaussian filters in numpy, as OpenCV's `GaussianBlur` computes them on floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

USUAL_SIDE = 512  # pixels of the pictures for which the controls' deviations were chosen


def gaussian(pixels: Pixels, sigma: float) -> Pixels:
    """Blur (H, W) or (H, W, C) with a deviation of `sigma` pixels; the border is mirrored without its last row."""
    radius = max(1, round(4 * sigma))
    at = np.arange(-radius, radius + 1)
    kernel = np.exp(-(at**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return _along(_along(pixels, kernel, 0), kernel, 1)


def _along(pixels: Pixels, kernel: NDArray[np.float64], axis: int) -> Pixels:
    radius, length = len(kernel) // 2, pixels.shape[axis]
    around = [(radius, radius) if i == axis else (0, 0) for i in range(pixels.ndim)]
    padded = np.pad(pixels, around, mode="reflect")
    blurred = np.zeros(pixels.shape, np.float64)
    for i, weight in enumerate(kernel):
        blurred += weight * padded[(*[slice(None)] * axis, slice(i, i + length))]
    return blurred.astype(np.float32)
