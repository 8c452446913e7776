"""Leftovers: does a photo's background come back where another one was asked for?"""

from __future__ import annotations

from typing import Any

from booth.core.metric import Evidence, Metric, Score, by_prompt
from booth.evaluate.masks import background_only


class Background(Metric):
    """Share of drawings whose background is nearer to a photo's than any background of the untouched base is.

    The subject is painted grey in all of them. The untouched base, at the same prompts and seeds, has never seen the
    photos: its highest cosine with a photo's background is that photo's threshold. `photos` counts them for each photo.
    """

    name = "background"
    title = "backgrounds of photos"
    better = "lower"
    range = (0.0, 1.0)
    needs = ("drawn", "photos", "untouched")
    role = "distribution"
    source = "background leak, 2604.01973, with a threshold from the base"

    def measure(self, evidence: Evidence, encoder: Any) -> list[Score]:
        photos, drawn, untouched = (
            encoder.images([background_only(image) for image in images])
            for images in (evidence.photos, [d.image for d in evidence.drawn], [d.image for d in evidence.untouched])
        )
        threshold = (untouched @ photos.T).max(0).values  # (photos,)
        nearer = drawn @ photos.T > threshold  # (drawings, photos)
        found = nearer.any(1).float().tolist()
        counts = {str(i + 1): int(n) for i, n in enumerate(nearer.sum(0)) if n}
        return [self.score(by_prompt(found, evidence.drawn), encoder, photos=counts, of=len(evidence.drawn))]
