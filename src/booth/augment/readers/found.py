"""What a reader finds, before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from booth.augment.labelled_set import Picture


@dataclass
class Found:
    """Pictures with what is told and what is wrong about them; sentences on faults have no full stop."""

    root: Path
    layout: str
    pictures: list[Picture] = field(default_factory=list[Picture])
    bad: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    group_column: str | None = None  # where the groups stand, if they stand anywhere
    categories: dict[str, int] = field(default_factory=dict[str, int])
