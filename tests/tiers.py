"""Which tests the default run leaves out: by seconds that were recorded, `scripts/record_durations.py` writes them.

Of each test function the shortest case is run, and more of them where they are short. A function is left out where
even that takes long, unless it is marked essential. What nobody has recorded is run.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

DURATIONS = Path(__file__).with_name("durations.json")
CASE = 0.2  # seconds of a further case of a function
FUNCTION = 2.0  # of the shortest case of a function that is not essential


def function_of(name: str) -> str:
    """A test's name without its case and its group."""
    return re.split(r"[\[@]", name, maxsplit=1)[0]


def read_durations() -> dict[tuple[str, str], float]:
    """Seconds by file, from the repository's root, and by the test's name with its case."""
    recorded = json.loads(DURATIONS.read_text(encoding="utf-8"))["seconds"]
    return {(file, name): seconds for file, names in recorded.items() for name, seconds in names.items()}


def left_out(tests: Iterable[tuple[str, str, bool]], seconds: Mapping[tuple[str, str], float]) -> set[tuple[str, str]]:
    """Of tests, each with its file, its name and whether it is essential, the files and names of those left out."""
    cases: dict[tuple[str, str], list[tuple[float, int, str, bool]]] = defaultdict(list)
    for i, (file, name, essential) in enumerate(tests):
        cases[file, function_of(name)].append((seconds.get((file, name), 0.0), i, name, essential))
    out: set[tuple[str, str]] = set()
    for (file, _), found in cases.items():
        shortest, *further = sorted(found)
        if shortest[0] >= FUNCTION and not shortest[-1]:
            further = [shortest, *further]
        out |= {(file, name) for taken, _, name, _ in further if taken >= CASE}
    return out
