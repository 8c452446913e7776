"""A learning rate that stays."""

from __future__ import annotations

from booth.core.optimizer import Schedule


class Constant(Schedule):
    """The peak to the end."""

    name = "constant"
    title = "Constant"

    def __call__(self, progress: float) -> float:
        return 1.0
