"""What a user asked for, in words, as a Request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from booth.core.errors import UsageError
from booth.generate.concepts import parse_applied
from booth.generate.prompts import read_prompts
from booth.generate.run import Request
from booth.generate.words import tell_apart


def read_request(
    words: Sequence[str],
    *,
    more: Sequence[str],
    prompt_file: Path | None,
    base: str | None,
    **how: Any,
) -> Request:
    """What a command's words and options ask for, with what was left out filled in; see booth.generate.words."""
    parts = tell_apart(words, more, prompt_file is not None, base)
    prompt, applied = parts.prompt, [parse_applied(text) for text in parts.concepts]
    if prompt_file is not None:
        prompts = read_prompts(prompt_file)
    elif prompt is not None:
        prompts = [prompt]
    elif applied and applied[0].concept.record.prompt:
        prompts = [applied[0].concept.record.prompt]
    else:
        raise UsageError(
            "A prompt is missing.",
            "Write it in quotes, or give a file with `prompts`.",
            code="prompt.missing",
            field="prompts",
        )
    return Request(prompts, applied, base, **how)
