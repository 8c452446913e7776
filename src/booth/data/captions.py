"""Captions: a text file beside the photo, or a line of a Hub imagefolder's metadata.jsonl."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.core.method import Subject
from booth.data.decoding import read_bytes

CAPTION_SUFFIXES = (".txt", ".caption")  # in order of preference
CAPTION_COLUMNS = ("text", "caption")
METADATA = "metadata.jsonl"
MAX_CAPTION_BYTES = 65_536
MAX_METADATA_BYTES = 50_000_000


def clean(text: str) -> str | None:
    """A caption on one line, or None if nothing is left; BadDataError if it is not text."""
    line = " ".join(text.split())
    if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in line):
        raise BadDataError("holds control characters, so it is no caption; remove it")
    return line or None


def with_subject(caption: str, subject: Subject) -> str:
    """The caption with token and noun in front (or a style's behind), unless the token is there or no subject is."""
    if not subject.name or re.search(rf"(?<!\w){re.escape(subject.token)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{caption}, in {subject.name}" if subject.kind == "style" else f"{subject.name}, {caption}"


def shuffled_tags(caption: str, keep: int, rng: random.Random) -> str:
    """The comma-separated parts of a caption in another order; the first `keep` of them stay in front."""
    tags = [tag.strip() for tag in caption.split(",")]
    kept, rest = tags[:keep], tags[keep:]
    rng.shuffle(rest)
    return ", ".join([*kept, *rest])


def read_caption(path: Path) -> str | None:
    """The caption in a text file (UTF-8, with or without a byte-order mark); None if the file is blank."""
    return clean(_utf8(read_bytes(path, MAX_CAPTION_BYTES)))


def write_caption(photo: Path, caption: str) -> None:
    """Put a caption into the text file beside a photo, whole or not at all."""
    file = photo.with_suffix(CAPTION_SUFFIXES[0])
    work = file.with_name(f".{file.name}.tmp")  # hidden, so that it is no stray file if this is where we are killed
    work.write_text(f"{caption}\n", encoding="utf-8")
    os.replace(work, file)


def read_metadata(path: Path) -> tuple[dict[Path, str | None], list[str]]:
    """The captions of a metadata.jsonl by photo, and a sentence for each line that cannot be used.

    A line is {"file_name": path inside the folder, "text" or "caption": ...}; other columns are ignored.
    """
    captions: dict[Path, str | None] = {}
    bad: list[str] = []
    for number, line in enumerate(_utf8(read_bytes(path, MAX_METADATA_BYTES)).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            photo, caption = _metadata_line(line, path.parent)
            if photo in captions:
                raise BadDataError(f"names {photo.name} a second time; keep one")
            captions[photo] = caption
        except BadDataError as error:
            bad.append(f"line {number} {error}")
    return captions, bad


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _metadata_line(line: str, folder: Path) -> tuple[Path, str | None]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"is not JSON ({error}); it must be one object a line") from error
    name = row.get("file_name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise BadDataError('has no "file_name"; it must name a photo in this folder')
    photo = folder / os.path.normpath(name)
    if not photo.resolve().is_relative_to(folder.resolve()):
        raise BadDataError(f"names {name}, which is outside the folder; copy the photo into it")
    if not os.path.isfile(photo):
        raise BadDataError(f"names {name}, which does not exist; correct the name or delete the line")
    texts = [row[column] for column in CAPTION_COLUMNS if isinstance(row.get(column), str)]
    if not texts:
        raise BadDataError(f'has no caption for {name}; add "text"')
    return photo, clean(texts[0])
