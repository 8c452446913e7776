"""How much of a photo a run learns from, and whether there is anything in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from booth.data.buckets import bucket_box, bucket_of
from booth.data.crops import square_box
from booth.data.photos import Photo

FLAT = 2.0  # in 8-bit steps of the deviation: what differs less is one colour to the eye


@dataclass(frozen=True)
class Framed:
    """What becomes of one photo."""

    share: float  # of its area that one view has, in (0, 1]
    flat: bool  # whether that is one colour


def framed(photo: Photo, crop: str, side: int, step: int) -> Framed:
    """The part of a photo that is learned from with a `crop`, on a base of this `side` with buckets of `step` pixels.

    Of random crops, whose place changes, the one in the middle stands for all.
    """
    image = photo.image
    if crop == "buckets":
        box = bucket_box(image, bucket_of(image.size, side, step))
    else:
        box = square_box(image, "subject" if crop == "subject" else "center")
    area = (box[2] - box[0]) * (box[3] - box[1])
    pixels = np.asarray(image.crop(box), dtype=np.float32)
    return Framed(min(1.0, area / (image.width * image.height)), bool(pixels.std((0, 1)).max() < FLAT))
