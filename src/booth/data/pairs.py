"""Hints that lie beside their pictures, in the layouts that trainers of ControlNets use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.data.captions import MAX_METADATA_BYTES, clean
from booth.data.decoding import read_bytes

MARK = "-condlabel"  # OneTrainer: photo.png and photo-condlabel.png
FOLDER = "conditioning"  # kohya's conditioning_data_dir: files of the same names
COLUMNS = ("conditioning_image", "conditioning_image_file_name")  # of a Hub imagefolder, as diffusers' script reads it
PAIRS = "prompt.json"  # Fill50K, the set of ControlNet's own tutorial: source/ holds the hints, target/ the pictures


@dataclass(frozen=True)
class Pair:
    """A picture with its hint and caption."""

    picture: Path
    hint: Path
    caption: str | None


def is_hint(path: Path) -> bool:
    """Whether a file's name says that it is the hint of the picture beside it."""
    return path.stem.endswith(MARK)


def hints_beside(folder: Path, source: Path, photos: list[Path]) -> dict[Path, Path]:
    """The hint of each of the photos in `folder` that has one; nothing outside `source` is looked at."""
    others = [folder / FOLDER] + ([folder.parent / FOLDER] if folder != source else [])
    listed: dict[str, Path] = {}
    for home in others:
        for name in sorted(os.listdir(home)) if home.is_dir() and not home.is_symlink() else []:
            listed.setdefault(Path(name).stem, home / name)
    found: dict[Path, Path] = {}
    for photo in photos:
        marked = [
            p for s in (".png", ".jpg", ".jpeg", ".webp") if (p := photo.with_name(f"{photo.stem}{MARK}{s}")).exists()
        ]
        hint = marked[0] if marked else listed.get(photo.stem)
        if hint is not None and hint.resolve().is_relative_to(source.resolve()):
            found[photo] = hint
    return found


def hub_hints(metadata: Path) -> tuple[dict[Path, Path], list[str]]:
    """The hints that a metadata.jsonl names, by picture, and a sentence for each line whose hint cannot be used."""
    found: dict[Path, Path] = {}
    bad: list[str] = []
    for number, row in _rows(metadata):
        named = next((row[c] for c in COLUMNS if isinstance(row.get(c), str)), None)
        if named is None or not isinstance(row.get("file_name"), str):
            continue
        try:
            found[metadata.parent / os.path.normpath(row["file_name"])] = _inside(metadata.parent, named)
        except BadDataError as error:
            bad.append(f"line {number} {error}")
    return found, bad


def read_pairs(path: Path) -> tuple[list[Pair], list[str]]:
    """What a prompt.json lists, and a sentence for each line that cannot be used.

    A line is {"source": hint, "target": picture, "prompt": caption}, with paths inside the folder.
    """
    pairs: list[Pair] = []
    bad: list[str] = []
    for number, row in _rows(path):
        try:
            if not all(isinstance(row.get(key), str) for key in ("source", "target")):
                raise BadDataError('is no {"source": hint, "target": picture, "prompt": caption}; correct it')
            prompt = row.get("prompt")
            caption = clean(prompt) if isinstance(prompt, str) else None
            pairs.append(Pair(_inside(path.parent, row["target"]), _inside(path.parent, row["source"]), caption))
        except BadDataError as error:
            bad.append(f"line {number} {error}")
    return pairs, bad


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line that holds an object, with its number; of a line that holds none, an empty one."""
    try:
        lines = read_bytes(path, MAX_METADATA_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadDataError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = {}
        yield number, row if isinstance(row, dict) else {}


def _inside(folder: Path, name: str) -> Path:
    path = folder / os.path.normpath(name)
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise BadDataError(f"names {name!r}, which is outside the folder; copy the file into it")
    if not os.path.isfile(path):
        raise BadDataError(f"names {name}, which does not exist; correct the name or delete the line")
    return path
