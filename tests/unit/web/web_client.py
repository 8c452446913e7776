"""What tests of the studio share: its token, pictures to send, and how they are sent."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

TOKEN = "a-token-that-nobody-guesses-0123456789"
PORT = 7878


def png(side: int = 140, seed: int = 0) -> bytes:
    """A sharp picture that is like no other."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side // 4, side // 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def raw(data: bytes) -> dict[str, object]:
    """A file as the studio's pages send it."""
    return {"content": data, "headers": {"content-type": "application/octet-stream"}}
