"""A pool of rendered pictures on disk, in shards: rendering is resumed where it stopped, and memory stays small."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from booth.world.render import Factors
from booth.world.sampling import EMPTY_SHARE, UPRIGHT_SHARE, render_range
from booth.world.warp import SIDE

SHARD = 2048  # pictures a file


class PicturePool:
    """The first `count` pictures of a world's training split, uint8 (count, side, side, 3), with captions and factors.

    Indexed like an array; `captions` and `factors` are lists. The pictures stay on disk, in memory-mapped files.
    """

    def __init__(self, folder: Path, count: int) -> None:
        starts = range(0, count, SHARD)
        self.parts = [np.load(folder / f"{s:08}.npy", mmap_mode="r", allow_pickle=False) for s in starts]
        told = [json.loads((folder / f"{s:08}.json").read_text(encoding="utf-8")) for s in starts]
        self.captions: list[str] = [words for part in told for words in part["captions"]][:count]
        self.factors = [Factors.from_dict(f) for part in told for f in part["factors"]][:count]
        self.shape = (count, *self.parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        if isinstance(index, np.ndarray):
            return np.stack([self.parts[i // SHARD][i % SHARD] for i in index.tolist()])
        return self.parts[index // SHARD][index % SHARD]


def _render_shard(start: int, folder: Path, seed: int, size: int) -> int:
    """Render one shard, unless it is there; its captions are written last and tell that it is whole."""
    pictures, text = folder / f"{start:08}.npy", folder / f"{start:08}.json"
    if not text.exists():
        images, captions, factors = render_range(
            (start, start + SHARD), seed, "train", size=size, empty_share=EMPTY_SHARE, upright_share=UPRIGHT_SHARE
        )
        np.save(pictures, images, allow_pickle=False)
        words = json.dumps({"captions": captions, "factors": [f.to_dict() for f in factors]})
        temporary = text.with_suffix(".tmp")
        temporary.write_text(words, encoding="utf-8")
        os.replace(temporary, text)
    return start


def picture_pool(folder: Path, count: int, workers: int, *, seed: int = 0, size: int = SIDE) -> PicturePool:
    """Render what is missing of the first `count` pictures into `folder`, with that many processes, and open them."""
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(_render_shard, folder=folder, seed=seed, size=size)
    starts = range(0, count, SHARD)
    if any(not (folder / f"{s:08}.json").exists() for s in starts):
        with ProcessPoolExecutor(workers) as processes:
            for start in processes.map(work, starts):
                print(f"pictures: {min(start + SHARD, count)} of {count}", file=sys.stderr, flush=True)
    return PicturePool(folder, count)
