"""The world's judges as encoders, named as such: on the embedded base, and where no public encoder is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from PIL.Image import Image
from torch import Tensor

from booth.core.encoder import Encoder
from booth.core.errors import NotAvailableError
from booth.core.json_values import Json
from booth.evaluate.judge_input import SIDE, as_array
from booth.families.files import content_hash
from booth.world import judges as world
from booth.world.pixels import to_unit
from booth.world.tokenizer import LENGTH


@lru_cache(maxsize=1)
def _judges(folder: Path) -> world.Judges:
    return world.Judges(folder)


class WorldEncoder(Encoder):
    """One of the world's judges; its own measured errors stand beside its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.require()
        self.folder = world.FOLDER
        self.judges = _judges(self.folder)

    @classmethod
    def require(cls) -> None:
        if not (world.FOLDER / "judges.json").is_file():
            raise NotAvailableError(
                f"The world's judges are not installed ({world.FOLDER} is missing).",
                "Reinstall booth, train them with `booth world judges`, or name a public encoder with `encoders`.",
                code="judges.missing",
                field="encoders",
            )

    def weights_hash(self) -> str:
        return content_hash(self.folder, sorted(self.folder.rglob("*")))

    def preprocessing(self) -> dict[str, Json]:
        return {"crop": "centre square", "size": SIDE, "resample": "lanczos", "range": [-1, 1]}

    def about(self) -> dict[str, Json]:
        return super().about() | {"errors": self.judges.errors}


class WorldIdentity(WorldEncoder):
    """The identity judge: close vectors for the same individual in another pose and scene."""

    name = "world-identity"
    title = "the world's identity judge"
    roles = ("subject",)
    titles: ClassVar[dict[str, str]] = {"subject_similarity": "Identity"}

    def embed(self, images: Sequence[Image]) -> Tensor:
        return self.judges.identities(as_array(images))


class WorldAgreement(WorldEncoder):
    """The image-text judge, an encoder of CLIP's kind that is not CLIP."""

    name = "world-agreement"
    title = "the world's image-text judge"
    roles = ("prompt", "distribution")
    titles: ClassVar[dict[str, str]] = {"prompt_similarity": "Agreement"}

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Tensor:
        return self.judges.agreement.embed_images(to_unit(as_array(images)))

    @torch.no_grad()
    def read(self, prompts: Sequence[str]) -> Tensor:
        tokens = self.judges.tokenizer(
            list(prompts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        return self.judges.agreement.embed_text(tokens.input_ids)


class WorldJudges(WorldIdentity):
    """The factor judge, which names object, scene, colour and accessory, with the identity judge's threshold."""

    name = "world-judges"
    title = "the world's judges"
    roles = ("judge",)
    titles: ClassVar[dict[str, str]] = {}

    @property
    def nouns(self) -> tuple[str, ...]:
        """The nouns that it knows."""
        return self.judges.labels.nouns

    def verdicts(self, images: Sequence[Image]) -> list[world.Verdict]:
        """What is in each picture."""
        return self.judges.look(as_array(images))

    def same(self, images: Sequence[Image], references: Sequence[Image]) -> list[bool]:
        """Whether each picture shows the references' individual."""
        cosine = self.images(images) @ self.images(references).T
        return (cosine.mean(1) > self.judges.same_threshold).tolist()
