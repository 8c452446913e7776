"""Captions: what a photo shows, in a text file beside it."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from booth.core.errors import BadDataError
from booth.core.reading import read_text

if TYPE_CHECKING:
    from booth.core.method import Subject  # which loads torch

# Of files that lie beside a photo, in order of preference; behind the photo's stem or its whole name, in any case.
CAPTION_SUFFIXES = (".txt", ".caption", ".captions", ".tags", ".json")
CAPTION_COLUMNS = ("text", "caption", "prompt", "captions", "description", "tags", "caption_text")
TAG_COLUMNS = ("tags",)  # whose lists are parts of one caption; in any other column they are several captions
UNSEEN = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))  # of no width, as web pages and joined files have them
MAX_CAPTION_BYTES = 65_536


def clean(text: str) -> str | None:
    """A caption on one line, or None if nothing is left; BadDataError if it is not text."""
    line = " ".join(text.translate(UNSEEN).split())
    if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in line):
        raise BadDataError(
            "holds control characters, so it is no caption",
            "remove it",
            code="caption.control_characters",
            field="photos",
        )
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
    """The caption in a file beside a photo; None if it is blank.

    Tags may stand one a line. A .json holds an object with the caption under one of CAPTION_COLUMNS.
    """
    return caption_of(read_text(path, MAX_CAPTION_BYTES), path.suffix.lower())


def caption_of(text: str, suffix: str) -> str | None:
    """The caption in the text of a file of that kind; None if it is blank."""
    if suffix == ".tags":
        text = ", ".join(line.strip().strip(",") for line in text.splitlines() if line.strip().strip(","))
    if suffix == ".json":
        text = _from_json(text)
    return clean(text)


def _from_json(text: str) -> str:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadDataError(
            "is not JSON", "correct it, or write the caption alone into a .txt", code="caption.not_json", field="photos"
        ) from error
    told = [value] if isinstance(value, str) else captions_in(value) if isinstance(value, dict) else None
    if not told:
        raise BadDataError(
            f"has none of {', '.join(CAPTION_COLUMNS[:3])}",
            "write the caption alone into a .txt",
            code="caption.no_column",
            field="photos",
        )
    return told[0]


def columns_of(row: Mapping[str, object]) -> dict[str, object]:
    """A row with its columns' names in one form: "Image Name" is image_name."""
    return {re.sub(r"[\s-]+", "_", str(key).strip().lower()): value for key, value in row.items()}


def captions_in(row: Mapping[str, object]) -> list[str] | None:
    """The captions among the columns of a row, one or several; "" where a column for one is empty, None without one.

    A list of tags is one caption with commas.
    """
    named, empty = columns_of(row), False
    for column in CAPTION_COLUMNS:
        value = named.get(column)
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):  # type: ignore[reportUnknownVariableType]
            return [", ".join(value)] if column in TAG_COLUMNS else value  # type: ignore[reportUnknownVariableType]
        empty = empty or (column in named and value is None)
    return [""] if empty else None


def write_caption(photo: Path, caption: str) -> None:
    """Put a caption into the text file beside a photo, whole or not at all."""
    file = photo.with_suffix(CAPTION_SUFFIXES[0])
    work = file.with_name(f".booth-{os.getpid()}.tmp")  # hidden, and short whatever the photo is called
    try:
        work.write_text(f"{caption}\n", encoding="utf-8")
        os.replace(work, file)
    finally:
        work.unlink(missing_ok=True)
