"""What a user asked for, in words, as a Request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from booth.core.errors import UsageError
from booth.generate.concepts import Applied, parse_applied
from booth.generate.prompts import read_prompts
from booth.generate.run import Request


def read_request(
    words: Sequence[str],
    *,
    more: Sequence[str],
    strength: float | None,
    prompt_file: Path | None,
    base: str | None,
    **how: Any,
) -> Request:
    """Tell concept from prompt in `words`, and fill in what was left out.

    Two words are a concept and a prompt. One that is no folder is the prompt where a base or other concepts are named
    and prompts do not come from a file; otherwise it is the concept, which is drawn at its own prompt.
    """
    rest = list(words)
    own_prompt_file = prompt_file is not None
    if len(rest) > 2 or (len(rest) == 2 and own_prompt_file):
        raise UsageError(
            f"Too many words: {' '.join(map(repr, rest))}. Write the prompt in quotes, or give --prompts instead of it."
        )
    alone = len(rest) == 1 and not own_prompt_file and bool(base or more) and not Path(rest[0]).is_dir()
    prompt = rest.pop() if len(rest) == 2 or alone else None
    applied = [Applied(parse_applied(word).concept, strength) for word in rest] + [parse_applied(text) for text in more]
    if strength is not None and not rest:
        raise UsageError("--strength is for the CONCEPT named first. For others write --concept DIR:STRENGTH.")
    if not applied and base is None:
        raise UsageError("Name a concept's folder, or draw the untouched base with --base embedded and a prompt.")
    if prompt_file is not None:
        prompts = read_prompts(prompt_file)
    elif prompt is not None:
        prompts = [prompt]
    elif applied and applied[0].concept.record.prompt:
        prompts = [applied[0].concept.record.prompt]
    else:
        raise UsageError("A prompt is missing. Write it in quotes, or give a file with --prompts.")
    return Request(prompts, applied, base, **how)
