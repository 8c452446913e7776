"""Small JSON files that are whole or not there: what is done already is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.core.commit import committed_file


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a file, or None where there is none that can be read."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_json(file: Path, values: Mapping[str, object]) -> None:
    """Write an object whole."""
    with committed_file(file) as work:
        work.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def digest(values: object) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
