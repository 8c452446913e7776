"""How near each drawn picture is to what was learned from, beside how near real pictures of other groups are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from booth.augment.labelled_set import Picture
from booth.core.encoder import Encoder
from booth.core.errors import NotAvailableError
from booth.evaluate.encoders import with_role
from booth.evaluate.metrics.copying import SAME, layouts
from booth.registry import ENCODERS

# Those that tell individuals apart come first; the world's is the last, for it has never seen a photograph.
ORDER = ("dino-vits16", "dinov2-base", "clip-vit-base-patch32", "efficientnet-lite0", "world-identity")
FLOOR, LEAST = 0.95, 0.05  # quantiles of how near a real picture is to the nearest one of another group


def comparing_encoder(name: str | None) -> Encoder:
    """The encoder called for, or the best one on this machine; NotAvailableError where there is none."""
    if name is not None:
        encoder = ENCODERS[name]()
        if not with_role([encoder], "subject"):
            raise NotAvailableError(
                f"The encoder {name} compares no subjects.",
                f"Use one of {', '.join(ORDER)}.",
                code="encoder.unfit",
                field="encoder",
            )
        return encoder
    for each in ORDER:
        try:
            return ENCODERS[each]()
        except NotAvailableError:
            continue
    raise NotAvailableError(
        "There is no encoder to compare pictures with.",
        "Install `booth[imagenet]` for one.",
        code="encoder.none_here",
        field="encoder",
    )


@dataclass(frozen=True)
class Nearest:
    """What is known of one drawn picture."""

    picture: Picture  # the nearest training picture
    likeness: float  # cosine to it, mirrored or not
    is_copy: bool  # nearer and laid out more alike than any two real pictures of different groups
    above_floor: bool  # nearer than all but a twentieth of held-out real pictures are to theirs
    is_outlier: bool  # further than all but a twentieth of them


class Originals:
    """The pictures of one class that were learned from, and how near to each other those of different groups are.

    The floor is real to real: each picture's nearest one of another group, as if it were held out. Pictures of one
    group show the same thing and say nothing of that. A class of one group has no floor and takes `fallback`'s.
    """

    def __init__(self, pictures: Sequence[Picture], encoder: Encoder, fallback: Originals | None = None) -> None:
        images = [p.image() for p in pictures]
        both = [*images, *(i.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for i in images)]
        self.pictures = list(pictures)
        self._encoder = encoder
        self._vectors, self._layouts = encoder.images(both), layouts(both)
        held_out = self._held_out(self._vectors)
        if held_out.numel():
            self.floor = float(held_out.quantile(FLOOR))
            self.least = float(held_out.quantile(LEAST))
            self.highest = float(held_out.max())
            self.layout = (1 + max(0.0, float(self._held_out(self._layouts).max()))) / 2
        elif fallback is not None:
            self.floor, self.least, self.highest = fallback.floor, fallback.least, fallback.highest
            self.layout = fallback.layout
        else:
            self.floor = self.highest = self.layout = SAME
            self.least = -1.0

    def _held_out(self, vectors: Tensor) -> Tensor:
        """The cosine of each picture with the nearest one of another group (N,), or nothing for a single group."""
        count, groups = len(self.pictures), [p.group for p in self.pictures]
        cosine = vectors[:count] @ vectors.T
        same = torch.tensor([[a == b for b in groups] for a in groups]).repeat(1, 2)
        cosine = cosine.masked_fill(same | (cosine >= SAME), -1.0)
        nearest = cosine.max(1).values
        return nearest[nearest > -1.0]

    def nearest(self, files: Sequence[Path]) -> list[Nearest]:
        """What is known of each drawn picture."""
        found: list[Nearest] = []
        for start in range(0, len(files), 32):
            images = [Image.open(f).convert("RGB") for f in files[start : start + 32]]
            likeness = self._encoder.images(images) @ self._vectors.T  # (B, 2N)
            layout = layouts(images) @ self._layouts.T
            # A copy that is not the nearest one is a copy too.
            copied = ((likeness > self.highest) & (layout > self.layout)) | (
                (likeness >= SAME) & (layout > self.layout)
            )
            for cosine, copies in zip(likeness, copied, strict=True):
                pool = torch.where(copies, cosine, -2.0) if bool(copies.any()) else cosine
                place = int(pool.argmax())
                value = float(cosine[place])
                above, outside = float(cosine.max()) > self.floor, float(cosine.max()) < self.least
                picture = self.pictures[place % len(self.pictures)]
                found.append(Nearest(picture, round(value, 5), bool(copies.any()), above, outside))
        return found
