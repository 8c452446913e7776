"""Between uint8 pictures and what networks take."""

import numpy as np
import torch
from torch import Tensor


def to_unit(images: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(pixels: Tensor) -> np.ndarray:
    """Float (B, 3, H, W) in [-1, 1] to uint8 (B, H, W, 3)."""
    return pixels.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def reduced(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 (B, H, H, 3), H a multiple of `side`, to uint8 (B, side, side, 3), each pixel the mean of a square."""
    times = images.shape[1] // side
    if times == 1:
        return images
    squares = images.reshape(len(images), side, times, side, times, 3)
    return np.rint(squares.mean((2, 4), dtype=np.float32)).astype(np.uint8)
