"""Small labelled sets for the tests: classes that a classifier can tell apart by colour and shape."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bar", "disc", "frame")
SIDE = 48


def picture(label: str, rng: np.random.Generator, hint: float = 1.0) -> Image.Image:
    """A bar, a disc or a frame of any colour, anywhere, on a noisy ground; with less `hint` it is paler."""
    pixels = rng.normal(110, 30, (SIDE, SIDE, 3))
    colour = rng.uniform(0, 255, 3)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE / 2 + rng.uniform(-6, 6, (2, 1, 1)))
    shapes = {
        "bar": (np.abs(y) < 5) & (np.abs(x) < 17),
        "disc": y**2 + x**2 < 12**2,
        "frame": (np.maximum(np.abs(y), np.abs(x)) < 15) & (np.maximum(np.abs(y), np.abs(x)) > 10),
    }
    inside = shapes[label]
    pixels[inside] = pixels[inside] * (1 - hint) + hint * colour
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_table(folder: Path, counts: dict[str, int], seed: int = 0, views: int = 1, hint: float = 1.0) -> Path:
    """A CSV with groups of `views` pictures, and its pictures."""
    rows: list[Sequence[str]] = [("image", "label", "group")]
    (folder / "pictures").mkdir(parents=True)
    for place, (label, count) in enumerate(counts.items()):
        for i in range(count):
            name = f"pictures/{label}-{i}.png"
            picture(label, np.random.default_rng([seed, place, i]), hint).save(folder / name)
            rows.append((name, label, f"{label}{i // views}"))
    with (folder / "set.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return folder / "set.csv"
