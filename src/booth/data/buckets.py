"""Shapes of about the same area, so that photos that are not square can be learned from nearly whole."""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import Image

from booth.data.crops import Box, central_box

Shape = tuple[int, int]  # width, height
LEAST_AREA = 0.9  # of the square's


@lru_cache(maxsize=8)
def bucket_shapes(side: int, step: int) -> tuple[Shape, ...]:
    """Every width and height in pixels that a base of this `side` learns from, the square among them.

    Both are multiples of `step` between half the side and twice it, and the area is 0.9 to 1 of the square's. At 1024
    and 64 this is the list of Stable Diffusion XL (Podell et al., 2307.01952, appendix I). ValueError if `step` does
    not divide `side`.
    """
    if side % step:
        raise ValueError(f"buckets at {side} pixels cannot be multiples of {step}")
    sides = range(max(step, math.ceil(side / 2 / step) * step), 2 * side + 1, step)
    return tuple((w, h) for w in sides for h in sides if LEAST_AREA * side**2 <= w * h <= side**2)


def bucket_of(size: Shape, side: int, step: int) -> Shape:
    """The bucket for a picture of this width and height: nearest in the logarithm of its aspect.

    The logarithm, because twice as wide is as far from square as twice as high. Of equals it is the largest, and of
    those the one nearest to a square, so that a picture on its side goes to the bucket on its side.
    """
    aspect = math.log(size[0] / size[1])

    def distance(shape: Shape) -> tuple[float, int, int]:
        # Rounded, for aspects that are equal may differ in their last bit.
        away = round(abs(math.log(shape[0] / shape[1]) - aspect), 9)
        return away, -shape[0] * shape[1], abs(shape[0] - shape[1])

    return min(bucket_shapes(side, step), key=distance)


def bucket_box(image: Image.Image, shape: Shape) -> Box:
    """The part of an image that fills a bucket: all but what its aspect cuts off, alike on both sides."""
    return central_box(image.size, shape)


def size_ids(full: Shape, shape: Shape) -> tuple[int, int, int, int, int, int]:
    """What Stable Diffusion XL is told of a picture of size `full` in a bucket of size `shape` (section 2.2 there).

    Height and width before anything was done to it, what was cut off at the top and at the left once it covered the
    bucket, in pixels of the bucket, and the bucket's height and width.
    """
    scale = max(shape[0] / full[0], shape[1] / full[1])
    left, top = (int((edge * scale - kept) / 2 + 1e-6) for edge, kept in zip(full, shape, strict=True))
    return full[1], full[0], top, left, shape[1], shape[0]
