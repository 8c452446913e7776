"""A straight line from the peak to nothing."""

from __future__ import annotations

from booth.core.optimizer import Schedule


class Linear(Schedule):
    """Falls by the same amount each step."""

    name = "linear"
    title = "Linear"

    def __call__(self, progress: float) -> float:
        return 1 - progress
