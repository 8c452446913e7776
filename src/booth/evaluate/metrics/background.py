"""Leftovers: does a photo's background come back where another one was asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt
from booth.evaluate.masks import background_only


class Background(Metric[Encoder]):
    """Share of drawings whose background is a photo's rather than one that the untouched base comes near to.

    The subject is painted over in all of them. The untouched base, at the same prompts and seeds, has never seen the
    photos: a photo's threshold is halfway from the highest cosine of its backgrounds with the photo's to 1, which is
    the photo's with itself. `photos` counts the drawings above it for each photo.
    The part `similarity` is the mean cosine with the nearest background of a photo. A picture that the subject fills
    has no background: it shares none.
    """

    name = "background"
    title = "backgrounds of photos"
    better = "lower"
    range = (-1.0, 1.0)
    needs = ("drawn", "photos")
    role = "distribution"
    not_of_styles = "a style fills the whole picture, backgrounds too"
    parts: ClassVar[dict[str, str]] = {"similarity": "likeness to photos' backgrounds"}
    source = "background leak, 2604.01973, with a threshold from the base"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        drawn = self._cosine([d.image for d in evidence.drawn], evidence, encoder)  # (drawings, photos)
        shown = [i for i, row in enumerate(drawn) if row.max() > -1]
        if not shown:
            raise Refused("no picture has a background beside the subject")
        nearest = [float(drawn[i].max()) for i in shown]
        scores = [self.score(by_prompt(nearest, [evidence.drawn[i] for i in shown]), encoder, "similarity")]
        if not evidence.untouched:
            return scores
        chance = self._cosine([d.image for d in evidence.untouched], evidence, encoder).max(0).values  # (photos,)
        if float(chance.max()) <= -1:
            raise Refused("nothing that the untouched base draws has a background, so that there is no threshold")
        nearer = drawn > (1 + chance) / 2  # (drawings, photos)
        found = nearer.any(1).float().tolist()
        counts = {str(i + 1): int(n) for i, n in enumerate(nearer.sum(0)) if n}
        details: dict[str, Any] = {"photos": counts, "of": len(evidence.drawn)}
        return [self.score(by_prompt(found, evidence.drawn), encoder, **details), *scores]

    def _cosine(self, images: Sequence[Image], evidence: Evidence, encoder: Encoder) -> Tensor:
        """Of each background with each photo's, (images, photos); -1 where there is none."""
        cosine = torch.full((len(images), len(evidence.photos)), -1.0)
        rows, columns = (
            {i: b for i, p in enumerate(pictures) if (b := background_only(p, evidence.subject_mask)) is not None}
            for pictures in (images, evidence.photos)
        )
        if rows and columns:
            vectors = encoder.images(list(rows.values())) @ encoder.images(list(columns.values())).T
            cosine[torch.tensor(list(rows))[:, None], torch.tensor(list(columns))] = vectors.float()
        return cosine
