"""Prompts: from a file, with the subject's name put where it is missing, and as file names."""

from __future__ import annotations

import re
from pathlib import Path

from booth.core.errors import BadDataError
from booth.core.reading import read_text


def read_prompts(file: Path) -> list[str]:
    """One prompt a line; empty lines, lines that begin with # and those that were there before are skipped."""
    try:
        lines = [line.strip() for line in read_text(file).split("\n")]
    except BadDataError as error:
        raise error.about(f"The prompt file {file}", field="prompts") from error
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise BadDataError(
            f"The prompt file {file} holds no prompt.", "Write one a line.", code="prompts.none", field="prompts"
        )
    return list(dict.fromkeys(prompts))


def with_subject(prompt: str, token: str, noun: str, kind: str = "subject") -> str:
    """The prompt with "token noun" in it: unchanged where the token stands, else put in place of the noun or ahead.

    A style is named behind: "a dog in sks style".
    """
    if _word(token).search(prompt):
        return prompt
    name = f"{token} {noun}"
    if kind == "style":
        return f"{prompt} in {name}".strip()
    corrected, count = _word(noun).subn(lambda _: name, prompt, count=1)
    return corrected if count else f"a photo of {name} {prompt}".strip()


def file_names(prompts: list[str], seeds: list[int]) -> list[str]:
    """A distinct PNG name a picture, from its prompt and seed: a-photo-of-sks-dog-7.png."""
    ordinal = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts), 1)}
    return [
        f"{f'{ordinal[prompt]:03d}-' if len(ordinal) > 1 else ''}{_slug(prompt)}-{seed}.png"
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "picture"


def _word(text: str) -> re.Pattern[str]:
    """The text where no letter, digit or underscore touches it; case does not count, as it does not in CLIP."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)
