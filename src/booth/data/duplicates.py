"""Photos that are there twice: byte for byte, or nearly so to the eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The limits were set on DreamBooth's photos: copies that were saved again, resized, brightened or cropped by 3 % lie
# below them, another pose of the same drawing on the same white ground lies above.
NEAR_BITS = 10  # of 64 in the difference hash
NEAR_DIFFERENCE = 0.22  # of the pictures' own contrast, on 16x16 thumbnails
NEAR_EXPOSURE = 32.0  # in 8-bit steps of a channel's mean: a copy may be brighter
LEAST_CONTRAST = 8.0  # in 8-bit steps, so that the noise of plain pictures does not tell them apart


def find_duplicates(pictures: list[tuple[str, str, Image.Image]]) -> tuple[str, ...]:
    """A sentence for each (name, sha256, RGB picture) that repeats an earlier one."""
    sentences: list[str] = []
    looks = [(difference_hash(image), _thumbnail(image)) for _, _, image in pictures]
    for i, (name, sha256, _) in enumerate(pictures):
        same = [n for n, s, _ in pictures[:i] if s == sha256]
        near = [pictures[k][0] for k in range(i) if _alike(looks[k], looks[i])]
        if same:
            sentences.append(f"{name} is the same file as {same[0]}; it counts twice.")
        elif near:
            sentences.append(f"{name} looks almost the same as {near[0]}; another view would teach more.")
    return tuple(sentences)


def near_pairs(images: Sequence[Image.Image]) -> list[tuple[int, int]]:
    """Indices (i, j), i < j, of pictures that look almost the same; fit for thousands of them."""
    looks = [(difference_hash(image), _thumbnail(image)) for image in images]
    signs = np.array([np.where(bits, 1, -1) for bits, _ in looks], dtype=np.float32).reshape(len(looks), -1)
    found: list[tuple[int, int]] = []
    for i in range(len(looks)):
        differing = (signs.shape[1] - signs[i + 1 :] @ signs[i]) / 2
        found += [
            (i, i + 1 + int(k)) for k in np.flatnonzero(differing <= NEAR_BITS) if _alike(looks[i], looks[i + 1 + k])
        ]
    return found


def difference_hash(image: Image.Image) -> NDArray[np.bool_]:
    """64 bits: whether each cell of an 8x8 grid is brighter than its right neighbour (dHash, N. Krawetz, 2013)."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return (grey[:, :-1] > grey[:, 1:]).ravel()


_Look = tuple[NDArray[np.bool_], NDArray[np.float32]]


def _thumbnail(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=np.float32)


def _alike(a: _Look, b: _Look) -> bool:
    means = a[1].mean((0, 1)), b[1].mean((0, 1))
    if (a[0] != b[0]).sum() > NEAR_BITS or np.abs(means[0] - means[1]).max() > NEAR_EXPOSURE:
        return False
    centred = a[1] - means[0], b[1] - means[1]
    contrast = max(LEAST_CONTRAST, float(np.sqrt(((centred[0] ** 2 + centred[1] ** 2) / 2).mean())))
    return float(np.sqrt(((centred[0] - centred[1]) ** 2).mean())) <= NEAR_DIFFERENCE * contrast
