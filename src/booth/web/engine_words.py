"""Sentences that the library says, in the language of the page.

The library speaks English and knows no front end. A language's file has its sentences as keys, with names in braces for
what differs from one to the next; what no key fits is shown as it was said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "messages"

NAME = re.compile(r"\\{(\w+)\\}")  # of an escaped key
HELD = re.compile(r"\{(\w+)\}")
SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-ZÄÖÜ{])")


def in_language(language: str, text: str) -> str:
    """What the library said, in another language; the values within are looked up too."""
    whole = _looked_up(language, text)
    if whole is not None:
        return whole
    parts = SENTENCES.split(text)
    for cut in range(len(parts) - 1, 0, -1):
        first = _looked_up(language, " ".join(parts[:cut]))
        if first is not None:
            return f"{first} {in_language(language, ' '.join(parts[cut:]))}"
    return text


def _looked_up(language: str, text: str) -> str | None:
    """The words for all of a text; with or without the backticks around names of fields."""
    plain, patterns = _known(language)
    text = text.replace("`", "")
    if text in plain:
        return plain[text]
    for pattern, said in patterns:
        found = pattern.fullmatch(text)
        if found is not None:
            return said.format(**{name: in_language(language, value) for name, value in found.groupdict().items()})
    return None


@cache
def _known(language: str) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    """What has no names in it, and the patterns of what has, the one that says most first."""
    file = FOLDER / f"engine.{language}.json"
    told: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    told = {key.replace("`", ""): said for key, said in told.items()}
    told = dict(_sentences(told)) | told
    plain = {key: said for key, said in told.items() if "{" not in key}
    able = sorted((key for key in told if "{" in key), key=lambda key: -len(NAME.sub("", re.escape(key))))
    return plain, [(_pattern(key), told[key]) for key in able]


def _sentences(told: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The sentences of what has several, one by one: an error and its advice are told apart and together."""
    for key, said in told.items():
        parts, others = SENTENCES.split(key), SENTENCES.split(said)
        if len(parts) == len(others) > 1:
            pairs = zip(parts, others, strict=True)
            yield from ((a, b) for a, b in pairs if set(HELD.findall(a)) == set(HELD.findall(b)))


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(NAME.sub(lambda found: f"(?P<{found[1]}>.+?)", re.escape(key)), re.DOTALL)
