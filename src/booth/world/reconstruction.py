"""How much of a picture an autoencoder keeps: in dB, and of its edges."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter

from booth.registry import CONTROLS
from booth.world.autoencoder import decode, encode
from booth.world.pixels import to_bytes, to_unit


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: np.ndarray, batch: int = 16) -> np.ndarray:
    """Encode and decode (posterior mean) uint8 pictures (N, H, W, 3)."""
    done = [
        to_bytes(decode(vae, encode(vae, to_unit(images[i : i + batch]).to(vae.device)).mean))
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(done)


def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB (N,) of uint8 pictures."""
    square = ((images.astype(np.float32) - others) ** 2).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(square, 1e-8))


def _gradients(images: np.ndarray) -> np.ndarray:
    """Length of the luminance gradient (N, H, W), by central differences."""
    grey = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    down, right = np.gradient(grey, axis=(1, 2))
    return np.hypot(down, right)


def edge_strength(images: np.ndarray) -> np.ndarray:
    """Mean gradient (N,) of each picture over the tenth of its places where it is largest: how sharp it looks."""
    lengths = np.sort(_gradients(images).reshape(len(images), -1), axis=1)
    return lengths[:, -(lengths.shape[1] // 10) :].mean(1)


def strong_edges_kept(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean gradient of `others` over that of `images` (N,), over the tenth of places where `images` has most."""
    mine, theirs = (_gradients(x).reshape(len(x), -1) for x in (images, others))
    strong = mine >= np.quantile(mine, 0.9, axis=1, keepdims=True)
    return (theirs * strong).sum(1) / np.maximum((mine * strong).sum(1), 1e-6)


def edge_f1(images: np.ndarray, others: np.ndarray, tolerance: int = 1) -> np.ndarray:
    """F1 (N,) between the Canny edges of both, matched within `tolerance` pixels; 1 where neither has any."""
    make = CONTROLS["canny"]()

    def edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lines = make(Image.fromarray(image)).convert("L")
        grown = lines.filter(ImageFilter.MaxFilter(2 * tolerance + 1))
        return np.asarray(lines) > 0, np.asarray(grown) > 0

    values: list[float] = []
    for a, b in zip(images, others, strict=True):
        (mine, mine_grown), (theirs, theirs_grown) = edges(a), edges(b)
        if not mine.any() and not theirs.any():
            values.append(1.0)
            continue
        precision = (theirs & mine_grown).sum() / max(theirs.sum(), 1)
        recall = (mine & theirs_grown).sum() / max(mine.sum(), 1)
        values.append(float(2 * precision * recall / max(precision + recall, 1e-6)))
    return np.array(values)
