"""Files that people hand over: read whole, and text as text, or one sentence without a subject that says why not.

Every verb reads a person's text file here: run.toml, other trainers' TOML, prompts, captions, studies and metadata.
"""

from __future__ import annotations

import codecs
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.core.json_values import Json
from booth.core.words import size

MAX_TEXT_BYTES = 50_000_000
# Marks by which an encoding other than UTF-8 announces itself; those of four bytes first, for they begin like others.
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
PLACES = re.compile(r"(^|_)(photos|out|base|also|paths?|files?|dirs?|directory|folder|images?|image_dir)$")
CONTROL = re.compile(r"[\0-\x1f\x7f]")


class BrokenTomlError(BadDataError):
    """A text is no TOML at all."""


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file; BadDataError with the reason if it cannot be read or is over `limit` bytes."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise BadDataError("is a folder, not a file", "name a file or rename it", code="file.is_folder")
        if not stat.S_ISREG(status.st_mode):
            raise BadDataError("is not a regular file", "copy the file itself", code="file.not_regular")
        if status.st_size > limit:
            raise BadDataError(
                f"has {size(status.st_size)}, the most is {size(limit)}",
                "make it smaller",
                code="file.too_large",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadDataError("does not exist", "check the name", code="file.missing") from error
    except PermissionError as error:
        raise BadDataError(
            "cannot be read: no permission", "allow it with `chmod u+r`", code="file.no_permission"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadDataError(f"cannot be read ({error})", "copy it again", code="file.unreadable") from error


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """The text of a file as `decode_text` has it; BadDataError with a sentence without a subject."""
    return decode_text(read_bytes(path, limit))


def decode_text(data: bytes) -> str:
    """UTF-8 with or without a byte-order mark, its line ends as \\n.

    Any other encoding is a BadDataError that tells what it is, as far as that shows: a guess would put wrong letters
    into captions and names.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            raise BadDataError(f"is not UTF-8 text but {name}", "save it as UTF-8", code="text.not_utf8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if _is_wide(data):
            raise BadDataError("is not UTF-8 text but UTF-16", "save it as UTF-8", code="text.not_utf8") from error
        raise BadDataError(
            f"is not UTF-8 text (byte {error.start}), but of an older encoding such as Windows-1252, or no text",
            "save it as UTF-8",
            code="text.not_utf8",
        ) from error
    if _is_wide(data):  # of English letters alone it is valid UTF-8 with a NUL behind each
        raise BadDataError("is not UTF-8 text but UTF-16", "save it as UTF-8", code="text.not_utf8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_wide(data: bytes) -> bool:
    """Whether most of every second byte is NUL, as in UTF-16 and UTF-32 of western words without a mark.

    Where most of all bytes are, it is no text.
    """
    head = data[:4096]
    halves = head[::2], head[1::2]
    return len(head) >= 4 and sum(half.count(0) > 0.6 * len(half) for half in halves) == 1


def parse_toml(text: str) -> dict[str, Json]:
    """The values of a TOML; BrokenTomlError for a text that is none, BadDataError for a path that is broken in it.

    In double quotes a backslash begins an escape, so that Windows' paths are errors or, worse, other paths.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BrokenTomlError(f"is not valid TOML: {error}", _advice(text, str(error)), code="toml.invalid") from error
    _require_places(values, "")
    return values


def _advice(text: str, complaint: str) -> str:
    """What to write instead of a backslash, if the line that is complained of has one in double quotes."""
    line = re.search(r"at line (\d+)", complaint)
    lines = text.split("\n")
    shown = lines[int(line.group(1)) - 1] if line and int(line.group(1)) <= len(lines) else ""
    if re.search(r'"[^"]*\\', shown):
        return "in double quotes a backslash begins an escape: write / in paths, or single quotes"
    return "correct it and try again"


def _require_places(value: Any, key: str) -> None:
    """Refuse a control character in a path anywhere in a TOML: it was meant as a backslash and a letter."""
    if isinstance(value, Mapping):
        for name, inner in value.items():  # type: ignore[reportUnknownVariableType]
            _require_places(inner, str(name))  # type: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for inner in value:  # type: ignore[reportUnknownVariableType]
            _require_places(inner, key)
    elif isinstance(value, str) and (PLACES.search(key) or re.match(r"[A-Za-z]:[\0-\x1f\\/]", value)):
        found = CONTROL.search(value)
        if found:
            raise BadDataError(
                f"has a {_name(found.group())} inside the path {key} = {value!r}, where a backslash in double quotes "
                "begins an escape",
                "write / in paths, or single quotes",
                code="toml.backslash_path",
            )


def _name(character: str) -> str:
    names = {"\t": "tab", "\n": "line break", "\r": "line break", "\b": "backspace", "\f": "form feed"}
    return names.get(character, "control character")
