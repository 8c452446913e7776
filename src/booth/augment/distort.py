"""The cheap ways to make more of real pictures: RandAugment and CutMix, and what every arm does."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Rng = np.random.Generator
MAGNITUDE, OPERATIONS = 9, 2  # of 30, and a picture, as RandAugment's paper has them for ImageNet
PAD = 8  # a picture is moved by up to an eighth of its side
FILL = (127, 127, 127)


def basic(pixels: np.ndarray, rng: Rng) -> np.ndarray:
    """Mirrored or not, and moved a little: what every arm does to (H, W, 3) uint8."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    side = pixels.shape[0]
    far = max(1, side // PAD)
    padded = np.pad(pixels, ((far, far), (far, far), (0, 0)), mode="reflect")
    top, left = rng.integers(0, 2 * far + 1, 2)
    return padded[top : top + side, left : left + side]


def rand_augment(pixels: np.ndarray, rng: Rng) -> np.ndarray:
    """Two of fourteen operations at a magnitude of 9 of 30 (Cubuk et al., 1909.13719)."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    level = MAGNITUDE / 30
    for operation in rng.choice(14, OPERATIONS):
        image = _operation(image, int(operation), level, float(rng.choice((-1.0, 1.0))))
    return np.asarray(image)


def _operation(image: Image.Image, which: int, level: float, sign: float) -> Image.Image:
    side = image.width
    affine = {
        2: (1, 0.3 * level * sign, 0, 0, 1, 0),
        3: (1, 0, 0, 0.3 * level * sign, 1, 0),
        4: (1, 0, 0.45 * side * level * sign, 0, 1, 0),
        5: (1, 0, 0, 0, 1, 0.45 * side * level * sign),
    }
    enhance = {
        6: ImageEnhance.Color, 7: ImageEnhance.Contrast, 8: ImageEnhance.Brightness, 9: ImageEnhance.Sharpness,
    }  # fmt: skip
    if which in affine:
        how = Image.Transform.AFFINE
        return image.transform(image.size, how, affine[which], Image.Resampling.BILINEAR, fillcolor=FILL)
    if which in enhance:
        return enhance[which](image).enhance(1 + 0.9 * level * sign)
    if which == 1:
        return image.rotate(30 * level * sign, Image.Resampling.BILINEAR, fillcolor=FILL)
    if which == 10:
        return ImageOps.posterize(image, 8 - round(4 * level))
    if which == 11:
        return ImageOps.solarize(image, round(256 * (1 - level)))
    return {12: ImageOps.autocontrast, 13: ImageOps.equalize}.get(which, lambda same: same)(image)


def cut_mix(pixels: np.ndarray, targets: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle of each picture (B, H, W, 3) from another, and the targets (B, C) in proportion (1905.04899)."""
    order, share = rng.permutation(len(pixels)), float(rng.beta(1.0, 1.0))
    side = pixels.shape[1]
    edge = round(side * (1 - share) ** 0.5)
    top, left = (int(rng.integers(0, side - edge + 1)) for _ in range(2))
    mixed = pixels.copy()
    mixed[:, top : top + edge, left : left + edge] = pixels[order, top : top + edge, left : left + edge]
    kept = 1 - (edge / side) ** 2
    return mixed, kept * targets + (1 - kept) * targets[order]
