"""Fill50K's list of pairs, from ControlNet's own tutorial: source/ holds the control images, target/ the pictures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.core.reading import read_text
from booth.data.captions import clean

PAIRS = "prompt.json"


@dataclass(frozen=True)
class Pair:
    """A picture with its control image and caption."""

    picture: Path
    control_image: Path
    caption: str | None


def read_pairs(path: Path) -> tuple[list[Pair], list[str]] | None:
    """What a prompt.json lists, and a sentence for each line that cannot be used; None where no line is a pair.

    A line is {"source": hint, "target": picture, "prompt": caption}, with paths inside the folder. Other programs have
    files of this name too, so that the name proves nothing.
    """
    pairs: list[Pair] = []
    bad: list[str] = []
    named = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = {}
        try:
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("source", "target")):
                raise BadDataError(
                    'is no {"source": hint, "target": picture, "prompt": caption}',
                    "correct it",
                    code="list.no_pair",
                    field="photos",
                )
            named += 1
            prompt = row.get("prompt")
            caption = clean(prompt) if isinstance(prompt, str) else None
            pairs.append(Pair(_inside(path.parent, row["target"]), _inside(path.parent, row["source"]), caption))
        except BadDataError as error:
            bad.append(f"line {number} {error}")
    return (pairs, bad) if named else None


def _inside(folder: Path, name: str) -> Path:
    path = folder / os.path.normpath(name)
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise BadDataError(
            f"names {name!r}, which is outside the folder",
            "copy the file into it",
            code="list.outside_folder",
            field="photos",
        )
    if not os.path.isfile(path):
        raise BadDataError(
            f"names {name}, which does not exist",
            "correct the name or delete the line",
            code="list.not_found",
            field="photos",
        )
    return path
