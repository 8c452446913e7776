"""One folder a class, as torchvision's ImageFolder has it, with or without train/, val/ and test/ above."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from booth.augment.labelled_set import SPLITS, Picture
from booth.augment.readers.found import Found
from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.data.beside import PHOTO_SUFFIXES
from booth.data.captions import CAPTION_SUFFIXES, read_caption

DEPTH = 3  # folders below a class's own in which its pictures may lie


def read_image_folder(folder: Path) -> Found:
    """Each folder is a class; a caption beside a picture says what is in it besides the class."""
    inner = _folders(folder)
    sides = {p: SPLITS[p.name.lower()] for p in inner if p.name.lower() in SPLITS and _folders(p)}
    found = Found(folder, "")
    for home, split in sides.items() if sides else [(folder, None)]:
        for kind in _folders(home):
            _class(kind, split, folder, found)
    others = [p for p in inner if sides and p not in sides]
    if others:
        found.notes.append(f"Left out beside {', '.join(p.name for p in sides)}: {', '.join(p.name for p in others)}.")
    labels = {p.label for p in found.pictures}
    if not labels:
        raise BadDataError(
            f"{printable(folder)} holds no folders of pictures.",
            "Put the pictures of each class into a folder with its "
            "name, or name a CSV with the columns image and label.",
            code="data.no_class_folders",
            field="data",
        )
    given = f" in {', '.join(dict.fromkeys(sides.values()))}" if sides else ""
    found.layout = f"{printable(folder)} holds {len(found.pictures)} pictures of {len(labels)} classes{given}."
    return found


def _class(kind: Path, split: str | None, root: Path, found: Found) -> None:
    for path in _pictures(kind, DEPTH):
        name = path.relative_to(root).as_posix()
        context = None
        caption = next((path.with_suffix(s) for s in CAPTION_SUFFIXES if path.with_suffix(s).is_file()), None)
        if caption is not None:
            try:
                context = read_caption(caption)
            except BadDataError as error:
                found.bad.append(f"{printable(caption)} {error}")
        found.pictures.append(Picture(path, name, kind.name.strip(), split=split, context=context))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _pictures(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _pictures(Path(entry.path), depth - 1)
        elif Path(entry.name).suffix.lower() in PHOTO_SUFFIXES:
            yield Path(entry.path)
