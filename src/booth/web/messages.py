"""The words of the studio, in the languages that have a file of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from starlette.requests import HTTPConnection

from booth.web.engine_words import FOLDER, in_language

FIRST = "en"
LANGUAGE = "booth_language"  # the cookie of the one that was chosen
LANGUAGES = tuple(sorted(file.stem for file in FOLDER.glob("*.json") if "." not in file.stem))
SCRIPT = "js."  # before the keys of what scripts say


@cache
def messages(language: str) -> Mapping[str, str]:
    """All words of a language by key."""
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


class Words:
    """Says things in one language: `words("run.state.done")`, `words("run.steps", done=3, total=80)`."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else FIRST
        self._said = messages(self.language)

    def __call__(self, key: str, /, **values: object) -> str:
        said = self._said.get(key) or messages(FIRST)[key]
        return said.format(**values) if values else said

    def has(self, key: str) -> bool:
        """Whether there are words for it."""
        return key in self._said

    def either(self, key: str, otherwise: str) -> str:
        """The words for it or, of what the message files do not know, what is said of it elsewhere."""
        return self._said.get(key, otherwise)

    def told(self, sentence: str) -> str:
        """What the library said, in this language where there are words for it."""
        return "\n".join(in_language(self.language, line) for line in sentence.split("\n"))

    def for_scripts(self) -> str:
        """What scripts say, as JSON that may stand within a page."""
        said = {k.removeprefix(SCRIPT): self(k) for k in messages(FIRST) if k.startswith(SCRIPT)}
        return json.dumps(said, ensure_ascii=False).replace("<", "\\u003c")


def preferred(accepted: str) -> str:
    """The first language of an Accept-Language header that there is a file of."""
    for part in accepted.split(","):
        language = part.split(";")[0].strip().lower()[:2]
        if language in LANGUAGES:
            return language
    return FIRST


def words_of(connection: HTTPConnection) -> Words:
    """The words in the language that was chosen, or that the browser asks for."""
    chosen = connection.cookies.get(LANGUAGE, "")
    return Words(chosen if chosen in LANGUAGES else preferred(connection.headers.get("accept-language", "")))
