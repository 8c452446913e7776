"""Pictures as the world's judges take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from booth.data.crops import square

SIDE = 64  # pixels, what the judges take


def as_array(images: Sequence[Image]) -> np.ndarray:
    """Pictures as the judges take them: uint8 (N, 64, 64, 3), cropped to their centre square."""
    return np.stack([np.asarray(square(image.convert("RGB"), SIDE, "center")) for image in images])
