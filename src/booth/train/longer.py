"""A run gone on with more steps than it was to make, and what of a finished one it goes on from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.concept import Concept
from booth.core.concept import TOLD
from booth.core.errors import DamagedFileError
from booth.core.family import Family
from booth.train.checkpoints import Checkpoint, read_checkpoint
from booth.train.folders import CHECKPOINTS
from booth.train.identity import differing
from booth.train.start import learned_of

CONSTANT = "constant"  # the one schedule whose rates do not depend on how many steps there will be


def is_longer(former: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a run is a former one with more steps, of which the first are made alike."""
    raised = differing(former, now) == ["steps"] and former["steps"] < now["steps"]
    return raised and now["schedule"] == CONSTANT and "until" not in now


@dataclass(frozen=True)
class Ended:
    """Where a run that made all its steps can go on: a checkpoint from before its end or, without one, its weights."""

    checkpoint: Checkpoint | None
    tensors: Mapping[str, Tensor]  # by the names of `Method.learned`, where there is no checkpoint
    steps: int  # made in the last stage
    total: int  # made in all stages

    @classmethod
    def concept(cls, concept: Concept, model: Family, stages: int) -> Ended:
        """A finished concept, whose checkpoints are there if the run was to keep them; nothing may be attached."""
        record = concept.record
        found = under_way(concept.folder / TOLD / CHECKPOINTS, stages)
        tensors = {} if found else learned_of(concept, model)
        return cls(found, tensors, record.stages[-1].steps, record.steps)

    @classmethod
    def at_end(cls, checkpoint: Checkpoint, stages: int, steps: int) -> Ended:
        """A checkpoint in which every stage has ended; those before it may be better to go on from."""
        found = under_way(checkpoint.folder.parent, stages)
        held = re.compile(r"finished\.\d+\.")
        named = {name: t for name, t in sorted(checkpoint.tensors.items()) if held.match(name)}
        tensors = {held.sub("", name, count=1): t for name, t in named.items()}
        return cls(found, tensors, checkpoint.values.get("stopped_at") or steps, checkpoint.done)

    def told(self, steps: int) -> str:
        """What going on to so many steps means."""
        if self.checkpoint is not None:
            where = self.checkpoint.done
            return f"Going on from the checkpoint after {where} steps, as if {steps} steps had been asked for at once."
        return (
            f"Going on from the weights after {self.steps} steps with an optimiser that begins anew: its state was not "
            f"kept, so that the result is not that of {steps} steps at once. keep_checkpoints=1 would have kept it."
        )


def under_way(folder: Path, stages: int) -> Checkpoint | None:
    """The newest good checkpoint of a run in which not all stages have ended."""
    for place in sorted(folder.glob("ckpt-*"), reverse=True):
        try:
            found = read_checkpoint(place)
        except DamagedFileError:
            continue
        if found.values["stage"] < stages:
            return found
    return None
