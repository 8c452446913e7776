"""Surface normals, derived from depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from booth.controls.depth import MODELS, nearness
from booth.core.control import Control

DEEP = 1 / 8  # of the picture's width: how much deeper the farthest place is taken to lie than the nearest


class Normals(Control):
    """Which way each place faces; x points right, y down, z to the viewer."""

    name = "normals"
    title = "Normal"
    shows = "red, green and blue for x, y and z, each from -1 to 1"

    def __init__(self, models: tuple[str, ...] = MODELS) -> None:
        self.models = models

    def __call__(self, picture: Image.Image) -> Image.Image:
        return encode(normals(nearness(picture, self.models)))


def normals(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (H, W, 3) unit normals of a nearness map; the same scene at another size has the same ones."""
    down, right = np.gradient(near)
    relief = DEEP * near.shape[1]
    vectors = np.stack([-relief * right, -relief * down, np.ones_like(near)], axis=-1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def encode(vectors: NDArray[np.float32]) -> Image.Image:
    """Unit vectors (H, W, 3) as a picture: -1 is 0, 1 is 255."""
    return Image.fromarray(np.rint((vectors + 1) * 127.5).astype(np.uint8))
