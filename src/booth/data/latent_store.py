"""Latents on the disk, so that a resumed run, a race and a tuning do not encode the same pictures again.

An entry holds what the autoencoder makes of a few pictures that are encoded together, for the numbers of one may depend
on its company in the last bit: what is found is bit for bit what would be encoded.
"""

# torch and safetensors are annotated in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from booth.core.cache import bound
from booth.core.family import Family, Posterior

FOLDER = "latents"  # in the user's cache folder
MOST_BYTES = 2_000_000_000  # of all entries; a square of 1024 pixels takes half a megabyte
SLACK = 64  # the folder is looked through again when a store has written that part of it, not after each entry
SUFFIX = ".safetensors"


class LatentStore:
    """Entries of one autoencoder in a folder that many share; what cannot be read or written is as if it were not."""

    def __init__(self, folder: Path, model: Family, most: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most
        self._written = most  # bytes since the folder was looked through; the first entry has it done
        self._encoder = _autoencoder_hash(model)

    def posterior(
        self, images: Sequence[Image.Image], encode: Callable[[Sequence[Image.Image]], Posterior]
    ) -> Posterior:
        """What `encode` makes of these RGB pictures of one shape, found or made, float32 on the CPU or where it is."""
        if self._encoder is None:
            return encode(images)
        file = self._folder / f"{self._key(images)}{SUFFIX}"
        found = _read(file)
        if found is not None:
            with suppress(OSError):
                os.utime(file)  # so that what is used stays longest
            return found
        made = encode(images)
        self._write(file, made)
        return made

    def _key(self, images: Sequence[Image.Image]) -> str:
        """By content: the pixels after cropping and mirroring, and all that decides what becomes of them."""
        digest = hashlib.sha256(str(self._encoder).encode())
        for image in images:
            digest.update(f"{image.size} {image.mode}".encode())
            digest.update(image.tobytes())
        return digest.hexdigest()

    def _write(self, file: Path, made: Posterior) -> None:
        tensors = {"mean": made.mean.cpu().contiguous(), "std": made.std.cpu().contiguous()}
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            return
        work = file.with_name(f"{file.stem}.tmp-{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, work, {"sha256": _hash_of(tensors)})
            self._written += work.stat().st_size
            os.replace(work, file)
            if self._written >= self._most // SLACK:
                bound(self._folder, self._most - self._most // SLACK, keep=file)
                self._written = 0
        except (OSError, SafetensorError):  # a full disk or a folder that is read-only: it is only a cache
            with suppress(OSError):
                work.unlink(missing_ok=True)


def _read(file: Path) -> Posterior | None:
    """An entry that is whole; None for one that is missing or damaged."""
    try:
        with safe_open(file, "pt") as entry:
            tensors = {name: entry.get_tensor(name) for name in ("mean", "std")}
            told = (entry.metadata() or {}).get("sha256")
    except (OSError, SafetensorError, ValueError):
        return None
    return Posterior(tensors["mean"], tensors["std"]) if told == _hash_of(tensors) else None


def _hash_of(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _autoencoder_hash(model: Family) -> str | None:
    """Of the autoencoder's weights, their precision and what computes with them; None where there are none."""
    vae: nn.Module | None = model.components().get("vae")
    if vae is None or any(p.is_meta for p in vae.parameters()):  # let go of, and read again when it is asked
        return None
    config: Any = getattr(vae, "config", {})
    device = next(vae.parameters()).device.type
    about = [type(model).__name__, type(vae).__name__, device, torch.__version__, torch.get_num_threads()]
    digest = hashlib.sha256(json.dumps([*about, dict(config)], default=str, sort_keys=True).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
