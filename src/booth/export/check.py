"""What the independent readings of a written file found, one for each program that it is for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from booth.core.json_values import Json

# Largest relative difference of a weight change that counts as equal: a few roundings of the type that is written.
TOLERANCES = {"fp32": 1e-6, "fp16": 2e-3, "bf16": 2e-2}
ROUNDINGS = 1e-5  # of a program that computes DoRA's lengths in float32
# Where a file is asked for that cannot hold all, a program is named for it whose change is nearer than this to the
# trained one than to none at all.
NEAR = 0.5


@dataclass
class Verdict:
    """What one program makes of the file."""

    unread: int = 0  # keys that it leaves lying
    missing: int = 0  # layers that it looks for in vain
    difference: float = 0.0  # largest relative difference of a change
    refused: str = ""  # why it does not load the file at all

    def reads(self, tolerance: float) -> bool:
        """Whether it sees what was trained."""
        return not (self.unread or self.missing or self.refused) and self.difference <= tolerance

    def why_not(self, tolerance: float) -> str:
        """In words, what it does not see."""
        if self.refused:
            return self.refused
        if self.unread or self.missing:
            return f"leaves {self.unread} keys unread and misses {self.missing} layers"
        return "" if self.difference <= tolerance else f"computes a change that is off by {self.difference:.1e}"


@dataclass
class Check:
    """What an independent reading of a written file found."""

    reader: str  # by whose rules
    matched: int = 0  # tensors that the target takes
    unmatched: list[str] = field(default_factory=list[str])  # keys that it would leave unread
    missing: list[str] = field(default_factory=list[str])  # what it would look for in vain
    difference: float = 0.0  # largest relative difference of a weight, or of its change
    against: str = "the base"  # whose names and shapes
    tolerance: float = TOLERANCES["fp32"]
    picture: int | None = None  # greatest difference of 255 between pictures by concept and by file, if they were drawn
    programs: dict[str, Verdict] = field(default_factory=dict[str, Verdict])  # where their readings differ

    @property
    def passed(self) -> bool:
        """Whether the target sees what was trained, as exactly as the file's numbers allow."""
        return not self.unmatched and not self.missing and self.difference <= self.tolerance

    def compare(self, got: Tensor, expected: Tensor, lost: float = 0.0) -> None:
        """Note the difference of two tensors, as `difference` has it."""
        self.difference = max(self.difference, difference(got, expected, lost))

    def readers(self, lossy: bool) -> list[str]:
        """The programs that see what was trained, or nearly so where less was asked for."""
        tolerance = NEAR if lossy else max(self.tolerance, ROUNDINGS)
        return [name for name, verdict in self.programs.items() if verdict.reads(tolerance)]

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self) | {"passed": self.passed}


def difference(got: Tensor, expected: Tensor, lost: float = 0.0) -> float:
    """The largest difference of two tensors, relative to the largest expected value; infinite for another shape.

    What is `lost` to rounding, whatever the size of what is expected, does not count.
    """
    if got.shape != expected.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    largest, apart = float(expected.abs().max()), float((got.double() - expected.double()).abs().max())
    return max(apart - lost, 0.0) / (largest or 1.0) if math.isfinite(apart) else math.inf  # NaN is never greater


def lost_by_lengths(weight: Tensor, lengths: Tensor) -> float:
    """What DoRA's change of a weight is exact to: it is the difference of two weights, both rounded.

    To a few float32 roundings of the lengths that programs compute, and to half a rounding of those in the file. Where
    hardly anything was learned that is more than the change itself.
    """
    stored = torch.finfo(lengths.dtype).eps / 2 if lengths.dtype != torch.float32 else 0.0
    return (4 * torch.finfo(torch.float32).eps + stored) * float(weight.abs().max())
