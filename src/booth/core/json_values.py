"""The type of what a JSON file, a line of events or `--json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

# Tuples are sequences: they are written as lists, and are read as such.
Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
