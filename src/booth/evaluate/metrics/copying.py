"""Copies: pictures that are nearer to a photo than the photos are to each other, and laid out like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt

SAME = 0.999  # two photos above this are one photo saved twice, and say nothing about how alike photos are
THUMBNAIL = 16  # pixels a side: where light and dark lie, without what makes a drawing differ from a photo in detail


class Copying(Metric[Encoder]):
    """Similarity to the nearest training photo, and the share of pictures that copy it.

    A copy is nearer to a photo than any two different photos of the subject are to each other, and laid out like it.
    The first alone is no copy: the better a subject was learned, the nearer is a new picture of it, and of as many new
    photos one in three would be above. Mirrored photos are looked at too. `matches` says for each picture which photo
    is nearest, counted from 1, its similarity, and whether it is copied.
    """

    name = "copying"
    title = "copies of photos"
    better = "lower"
    range = (-1.0, 1.0)
    needs = ("drawn", "photos")
    role = "subject"
    source = "nearest training photo, as in 2212.03860, with thresholds from the photos"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        originals = Originals(evidence.photos, encoder)
        cosine, copied = originals.compare([d.image for d in evidence.drawn], encoder)
        for row, picture in enumerate(evidence.drawn):
            if picture.reference is not None and len(evidence.photos) == len(evidence.references):
                cosine[row, picture.reference] = -1  # a photo that stands in for a drawing is no copy of itself
                copied[row, picture.reference] = False
        copies = copied.any(1)
        # Of several photos the one that is copied, and else the nearest.
        which = torch.where(copied | ~copies[:, None], cosine, -2).argmax(1)
        rows = zip(which.tolist(), cosine.gather(1, which[:, None])[:, 0].tolist(), copies.tolist(), strict=True)
        matches = [[photo + 1, round(likeness, 4), copy] for photo, likeness, copy in rows]
        nearest, share = cosine.max(1).values.tolist(), copies.float().tolist()
        threshold = round(originals.threshold, 4)
        return [
            self.score(by_prompt(nearest, evidence.drawn), encoder, "nearest", threshold=threshold, matches=matches),
            self.score(by_prompt(share, evidence.drawn), encoder, "share", threshold=threshold),
        ]


class Originals:
    """The photos that were learned from, and how alike a copy of one would be; Refused for fewer than two different."""

    def __init__(self, photos: Sequence[Image.Image], encoder: Encoder) -> None:
        both = [*photos, *(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in photos)]
        self._vectors, self._layouts = encoder.images(both), layouts(both)
        count = len(photos)
        self.threshold = highest(self._vectors[:count])
        # Photos of one thing on one table are alike in layout, and a copy is more so: halfway from that to the same.
        self.layout_threshold = (1 + max(0.0, highest(self._layouts[:count]))) / 2

    def compare(self, images: Sequence[Image.Image], encoder: Encoder) -> tuple[Tensor, Tensor]:
        """The cosine of each image with each photo (images, photos), mirrored or not, and whether it copies it."""
        likeness, layout = encoder.images(images) @ self._vectors.T, layouts(images) @ self._layouts.T
        copied = (likeness > self.threshold) & (layout > self.layout_threshold)
        as_is, mirrored = likeness.chunk(2, dim=1)
        return torch.maximum(as_is, mirrored), torch.stack(copied.chunk(2, dim=1)).any(0)


def layouts(images: Sequence[Image.Image]) -> Tensor:
    """Thumbnails as unit vectors (N, D) around their mean value, so that a cosine compares what lies where."""
    side = (THUMBNAIL, THUMBNAIL)
    small = [np.asarray(image.convert("RGB").resize(side, Image.Resampling.BOX)) for image in images]
    values = torch.from_numpy(np.stack(small)).float().flatten(1)
    return F.normalize(values - values.mean(1, keepdim=True), dim=1)


def highest(photos: Tensor) -> float:
    """The highest cosine of two different photos (N, D); Refused if there are not two different ones."""
    cosine = photos @ photos.T
    different = cosine[~torch.eye(len(photos), dtype=torch.bool) & (cosine < SAME)]
    if different.numel() == 0:
        raise Refused("there are no two different photos, whose likeness would be the threshold")
    return float(different.max())
