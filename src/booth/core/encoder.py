"""An encoder: a network that looks at pictures, and sometimes reads prompts, so that metrics can compare them."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from PIL.Image import Image
from torch import Tensor

from booth.core.errors import UsageError
from booth.core.json_values import Json

# What an encoder may be asked for: to compare subjects, to compare with prompts, to compare sets of pictures, and to
# say outright what is in a picture.
Role = Literal["subject", "prompt", "distribution", "judge"]
BATCH = 32


class Encoder(ABC):
    """One network with its preprocessing. Vectors are remembered by what is in the picture."""

    name: ClassVar[str]  # part of the name of every number that it yields
    title: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]]
    stands_in: ClassVar[bool] = False  # used unnamed only on full-size bases, where no other of its kind is found
    titles: ClassVar[dict[str, str]] = {}  # what the field calls a metric with this encoder: CLIP-I, DINO, ...

    def __init__(self) -> None:
        self._seen: dict[bytes, Tensor] = {}

    @classmethod
    def require(cls) -> None:
        """NotAvailableError, with what to do, where it cannot be made here; it loads nothing."""
        return

    @abstractmethod
    def embed(self, images: Sequence[Image]) -> Tensor:
        """Unit vectors (N, D) in float32 on the CPU of at most 32 RGB pictures."""

    @abstractmethod
    def weights_hash(self) -> str:
        """The sha256 of the weights."""

    @abstractmethod
    def preprocessing(self) -> dict[str, Json]:
        """Everything that is done to a picture before the network sees it."""

    def read(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors (N, D) of prompts, comparable with those of pictures."""
        raise UsageError(f"{self.title} reads no prompts.", code="encoder.reads_no_prompts", field="encoders")

    def images(self, images: Sequence[Image]) -> Tensor:
        """Unit vectors (N, D) of pictures of any size."""
        keys = [content_of(image) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._seen}
        for start in range(0, len(new), BATCH):
            batch = list(new.items())[start : start + BATCH]
            vectors = self.embed([image.convert("RGB") for _, image in batch])
            self._seen.update(zip([key for key, _ in batch], vectors, strict=True))
        return torch.stack([self._seen[key] for key in keys])

    def about(self) -> dict[str, Json]:
        """What stands beside every number: weights and preprocessing, each with its hash."""
        steps = self.preprocessing()
        return {
            "title": self.title,
            "weights": self.weights_hash(),
            "preprocessing": steps,
            "preprocessing_hash": hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:16],
        }


def content_of(image: Image) -> bytes:
    """What tells pictures apart: a hash of mode, size and pixels."""
    return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).digest()
