"""What happens when a loss or gradient is not finite: skip the step, then go back with half the rate, then give up."""

from __future__ import annotations

import math
from typing import Any

from booth.core.concept import RecoveryRecord
from booth.core.errors import NotFiniteError
from booth.core.json_values import Json
from booth.train.loop import Step

SKIPS = 3  # steps in a row that may be skipped
RETURNS = 2  # returns to a checkpoint in one run


class Recovery:
    """Counts skipped steps, and remembers by how much each stage's learning rate was lowered."""

    def __init__(self) -> None:
        self.skipped = 0
        self.returns: list[RecoveryRecord] = []
        self._in_a_row = 0
        self._scales: dict[str, float] = {}

    @property
    def must_return(self) -> bool:
        """Whether more steps in a row were skipped than may be."""
        return self._in_a_row > SKIPS

    def note(self, step: Step, loss_scale: float | None) -> None:
        """Take note of a step, whatever it did.

        With fp16, infinite gradients of a finite loss are how the gradient scaler finds its scale: while it has
        room to come down, they do not count.
        """
        if step.updated:
            self._in_a_row = 0
            return
        self.skipped += 1
        if loss_scale is None or loss_scale <= 1 or not math.isfinite(step.loss):
            self._in_a_row += 1

    def rate_scale(self, stage: str) -> float:
        """What the learning rate of a stage is multiplied by."""
        return self._scales.get(stage, 1.0)

    def go_back(self, stage: str, step: int, done: int, error: NotFiniteError) -> RecoveryRecord:
        """Halve the stage's rate for a return to `done` finished steps; NotFiniteError when there were enough."""
        if len(self.returns) == RETURNS:
            raise NotFiniteError(
                f"The loss or gradient was not finite again at step {step} of {stage}, after {RETURNS} returns with "
                "half the learning rate each.",
                "Train anew (another `out`) with a lower `learning_rate` (and `optimizer=adamw`: prodigy ignores it), "
                "with `precision=fp32`, or without the photo that is unlike the others.",
                code="loss.not_finite",
                field="settings.learning_rate",
            ) from error
        self._in_a_row = 0
        self._scales[stage] = self.rate_scale(stage) / 2
        record = RecoveryRecord(stage=stage, step=step, returned_to=done, rate_scale=self._scales[stage])
        self.returns.append(record)
        return record

    def state(self) -> dict[str, Json]:
        """Plain values for a checkpoint."""
        returns = [r.model_dump() for r in self.returns]
        return {"skipped": self.skipped, "in_a_row": self._in_a_row, "scales": self._scales, "returns": returns}

    def load_state(self, values: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.skipped = values["skipped"]
        self._in_a_row = values["in_a_row"]
        self._scales = dict(values["scales"])
        self.returns = [RecoveryRecord.model_validate(r) for r in values["returns"]]
