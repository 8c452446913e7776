"""Copies: pictures that are nearer to a photo than the photos are to each other."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt

SAME = 0.999  # two photos above this are one photo saved twice, and say nothing about how alike photos are


class Copying(Metric):
    """Similarity to the nearest training photo, and the share of pictures above the copy threshold.

    The threshold is the photos' own: the highest cosine of two different photos of the subject. Mirrored photos are
    looked at too. `matches` says which photo is nearest to each picture, counted from 1.
    """

    name = "copying"
    title = "copies of photos"
    better = "lower"
    range = (-1.0, 1.0)
    needs = ("drawn", "photos")
    role = "subject"
    source = "nearest training photo, as in 2212.03860, with a threshold from the photos"

    def measure(self, evidence: Evidence, encoder: Any) -> list[Score]:
        photos = encoder.images(evidence.photos)
        threshold = copy_threshold(photos)
        mirrored = encoder.images([p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in evidence.photos])
        drawn = encoder.images([d.image for d in evidence.drawn])
        cosine = torch.maximum(drawn @ photos.T, drawn @ mirrored.T)  # (drawings, photos)
        for row, picture in enumerate(evidence.drawn):
            if picture.reference is not None and len(evidence.photos) == len(evidence.references):
                cosine[row, picture.reference] = -1  # a photo that stands in for a drawing is no copy of itself
        nearest, which = cosine.max(1)
        copied = (nearest > threshold).float().tolist()
        matches = [[int(w) + 1, round(float(n), 4)] for n, w in zip(nearest, which, strict=True)]
        told = {"threshold": round(threshold, 4), "matches": matches}
        return [
            self.score(by_prompt(nearest.tolist(), evidence.drawn), encoder, "nearest", **told),
            self.score(by_prompt(copied, evidence.drawn), encoder, "share", threshold=told["threshold"]),
        ]


def copy_threshold(photos: Tensor) -> float:
    """The highest cosine of two different photos (N, D); Refused if there are not two different ones."""
    cosine = photos @ photos.T
    different = cosine[~torch.eye(len(photos), dtype=torch.bool) & (cosine < SAME)]
    if different.numel() == 0:
        raise Refused("there are no two different photos, whose likeness would be the threshold")
    return float(different.max())
