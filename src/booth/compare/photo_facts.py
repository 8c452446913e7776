"""What a set of photos is like, as far as it decides what to do with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from PIL import Image

from booth.core.json_values import Json
from booth.data.photos import PhotoSet

# On some 100 of DreamBooth's photos sharpness was 154 to 7,300, and 1 to 9 once they were blurred by a hundredth of
# their side; the median correlation of rims was 0.9 for the one set on a plain ground and at most 0.26 for the others.
SIDE = 256  # pixels of the shorter side at which sharpness is compared
BLURRED = 40.0  # variance of the Laplacian below which a photo is soft
RIM = 4  # of 32 pixels: where a background is looked for
SAME_RIM = 0.6  # correlation of two rims above which the backgrounds are the same


@dataclass(frozen=True)
class PhotoFacts:
    """Counts and measures of a PhotoSet."""

    count: int
    blurred: tuple[str, ...]  # file names
    duplicates: tuple[str, ...]  # sentences
    same_background: bool

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self)


def look_at(photos: PhotoSet) -> PhotoFacts:
    """Measure the photos."""
    images = [p.image for p in photos.photos]
    blurred = tuple(p.path.name for p in photos.photos if sharpness(p.image) < BLURRED)
    alike = [correlation(a, b) for a, b in combinations(map(rim, images), 2)]
    return PhotoFacts(len(images), blurred, photos.duplicates, bool(alike) and float(np.median(alike)) > SAME_RIM)


def sharpness(image: Image.Image) -> float:
    """The variance of the Laplacian of the grey picture (Pech-Pacheco et al., 2000), in 8-bit steps squared."""
    scale = SIDE / min(image.size)
    grey = image.convert("L").resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    g = np.asarray(grey, dtype=np.float64)
    inner = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(inner.var())


def rim(image: Image.Image) -> np.ndarray:
    """The outer pixels of a 32x32 thumbnail, (n,)."""
    small = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    outer = np.ones((32, 32), dtype=bool)
    outer[RIM:-RIM, RIM:-RIM] = False
    return small[outer].ravel()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two rims; two plain ones are the same if their colours are."""
    if a.std() < 4 or b.std() < 4:
        return float(np.abs(a - b).max() < 32)
    return float(np.corrcoef(a, b)[0, 1])
