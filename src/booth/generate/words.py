"""The words of a drawing told apart, and what can be wrong with them, before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from booth.core.errors import UsageError
from booth.core.places import at_home

# Ways of writing that other programs give a meaning, and what they mean there. Drawn here, they are words.
FOREIGN = (
    (re.compile(r"(?:^|\s)--(?:n|w|h|d|s|l|g|cn|ow|oh)\s+\S"), "options of sd-scripts (--n, --w, --h, --d)"),
    (re.compile(r"<(?:lora|lyco|lycoris|hypernet|embedding):[^<>]+>"), "a tag of a LoRA (<lora:...>)"),
    (re.compile(r"\([^()]*:\s*\d*\.?\d+\s*\)"), "a weight ((word:1.2))"),
    (re.compile(r"\(\([^()]+\)\)|\[\[[^\[\]]+\]\]"), "emphasis by brackets"),
    (re.compile(r"\{[^{}|]+(?:\|[^{}|]+)+\}|(?<!\w)__[\w/-]+__(?!\w)"), "a choice of words ({a|b}, __list__)"),
    (re.compile(r"(?<!\w)BREAK(?!\w)"), "BREAK between parts"),
)


@dataclass(frozen=True)
class Words:
    """What the words of a command name."""

    concepts: list[str]  # FOLDER or FOLDER:STRENGTH, each
    prompt: str | None


def tell_apart(words: Sequence[str], more: Sequence[str], prompts: bool, base: str | None) -> Words:
    """Tell concept from prompt in `words`; `prompts` says whether those come from a file.

    Two words are a concept and a prompt. One that is no folder is the prompt where a base or other concepts are named
    and prompts do not come from a file; otherwise it is the concept, which is drawn at its own prompt.
    """
    rest = list(words)
    if len(rest) > 2 or (len(rest) == 2 and prompts):
        raise UsageError(
            f"Too many words: {' '.join(map(repr, rest))}.",
            "Write the prompt in quotes, or give `prompts` instead of it.",
            code="prompt.several",
            field="prompts",
        )
    alone = len(rest) == 1 and not prompts and bool(base or more) and not names_folder(rest[0])
    prompt = rest.pop() if len(rest) == 2 or alone else None
    for text in (*rest, *([prompt] if prompt is not None else [])):
        require_text(text)
    if rest and " " in rest[0].strip() and not names_folder(rest[0]):
        raise UsageError(
            f"{rest[0]!r} is no concept's folder.",
            "Name one before the prompt, or draw the untouched base: `base=embedded`.",
            code="concept.not_named",
            field="concepts",
        )
    if not rest and not more and base is None:
        raise UsageError(
            "Name a concept's folder, or draw the untouched base with `base=embedded` and a prompt.",
            code="concept.not_named",
            field="concepts",
        )
    return Words([*rest, *more], prompt)


def names_folder(text: str) -> bool:
    """Whether `text` is FOLDER or FOLDER:STRENGTH and not a prompt."""
    folder, colon, _ = text.rpartition(":")
    return _is_folder(text) or (bool(colon and folder) and _is_folder(folder))


def _is_folder(text: str) -> bool:
    try:
        return at_home(Path(text)).is_dir()
    except (OSError, ValueError):  # far too long for a name, or with a NUL in it
        return False


def require_text(prompt: str) -> None:
    """Raise UsageError for a prompt of bytes that are no text: no picture could keep it among its settings."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The prompt {prompt!r} is not UTF-8 text.",
            "Write it again in a UTF-8 terminal.",
            code="prompt.not_utf8",
            field="prompts",
        ) from error


def foreign_syntax(prompt: str) -> list[str]:
    """What a prompt has in it that another program would take for more than words."""
    return [meaning for pattern, meaning in FOREIGN if pattern.search(prompt)]
