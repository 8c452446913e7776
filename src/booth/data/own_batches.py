"""Batches of the caller's own in place of photos: known by what they deal, and looked at before the first step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import torch
from torch import Tensor

from booth.core.batch import Batch, BatchSource
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.rng import Rng, on_device

PROBED = 2  # steps whose batches a source is known by


class OwnBatches:
    """A BatchSource of the caller's, whose batches are brought to where the base is.

    `digest` tells one source from another: a sha256 over what it deals at the first steps of `seed`, and over the
    source's own `digest` if it has one. BadDataError for
    rows that do not go together or do not fit the base, for what lacks the control images that are to be followed, and
    for a source that deals something else when it is asked again, from which no run could be resumed.
    """

    def __init__(self, source: BatchSource, model: Family, seed: int, follows_control: bool = False) -> None:
        self._source = source
        self.encodes = bool(getattr(source, "encodes", False))  # at each step, so that the autoencoder has to stay
        self._device = next(next(iter(model.components().values())).parameters()).device
        first = self._dealt(Rng(seed))
        _require_whole(first)
        _require_fit(first, model, follows_control)
        probed = [_digest(self._dealt(Rng(seed, step))) for step in range(PROBED)]
        if _digest(first) != probed[0]:
            raise BadDataError(
                "Asked twice with the same rng, the batches differ.",
                "Draw all random numbers from rng.",
                code="batches.vary",
                field="photos",
            )
        self.digest = hashlib.sha256("".join([*probed, str(getattr(source, "digest", ""))]).encode()).hexdigest()

    def __call__(self, rng: Rng) -> Batch:
        batch = self._dealt(rng)
        tensors = {name: on_device(t.detach(), self._device) for name, t in _tensors(batch).items()}
        return replace(batch, **tensors)

    def prompts(self) -> None:
        """Nobody knows in advance what prompts there will be."""

    def _dealt(self, rng: Rng) -> Batch:
        batch: object = self._source(rng)
        if not isinstance(batch, Batch):
            raise BadDataError(
                f"A batch is no booth.core.batch.Batch but {type(batch).__name__}.",
                "Return Batch(prompts, latents, weight).",
                code="batches.of_no_kind",
                field="photos",
            )
        return batch


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """Those that a batch has, by name."""
    found = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _digest(batch: Batch) -> str:
    digest = hashlib.sha256(json.dumps(batch.prompts).encode())
    for name, tensor in sorted(_tensors(batch).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _require_whole(batch: Batch) -> None:
    rows = len(batch.prompts)
    own = (t for name, t in _tensors(batch).items() if name != "target")  # which only the last rows need bring
    if rows == 0 or any(len(tensor) != rows for tensor in own) or batch.weight.ndim != 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in _tensors(batch).items())
        raise BadDataError(
            f"The rows of a batch do not go together: {rows} prompts, {shapes}.",
            "Give each row a prompt, a latent and a weight.",
            code="batches.rows",
            field="photos",
        )


def _require_fit(batch: Batch, model: Family, follows_control: bool) -> None:
    with torch.no_grad():
        like = model.encode(torch.zeros(1, 3, model.resolution, model.resolution)).mean
    if batch.latents.ndim != like.ndim or batch.latents.shape[1] != like.shape[1]:
        raise BadDataError(
            f"The latents of a batch are {tuple(batch.latents.shape)}, and those of {model.title} are "
            f"(B, {', '.join(map(str, like.shape[1:]))}).",
            "Encode pictures with the base's own `encode`.",
            code="batches.latents",
            field="photos",
        )
    if follows_control and batch.control is None:
        raise BadDataError(
            "The batches have no control images for the method to follow.",
            "Set `control`.",
            code="batches.no_control",
            field="photos",
        )
