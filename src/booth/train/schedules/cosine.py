"""Half a cosine, from the peak to nothing (Loshchilov & Hutter, 1608.03983, without restarts)."""

from __future__ import annotations

import math

from booth.core.optimizer import Schedule


class Cosine(Schedule):
    """Falls slowly at both ends."""

    name = "cosine"
    title = "Cosine"

    def __call__(self, progress: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * progress))
