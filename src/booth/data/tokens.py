"""Advice on the word that is going to name a subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from booth.core.method import Subject
from booth.core.tokens import RARE_TOKENS

COMMON_ROWS = 20_000  # CLIP's rows are in the order of frequency: those ahead of this one are words people use


def advice_on_token(tokenizers: Sequence[Any], subject: Subject, *, new_row: bool) -> list[str]:
    """Warnings about a token that is a common word or, where no new row is made for it, falls into several tokens."""
    token = subject.token
    advice: list[str] = []
    for tokenizer in tokenizers[:1]:
        ids = tokenizer(token, add_special_tokens=False).input_ids
        if len(ids) > 1 and not new_row:
            advice.append(
                f"The token {token!r} is {len(ids)} tokens to this base, so that several rows have to name the "
                f"subject. A single rare one such as {RARE_TOKENS[0]!r} learns faster; --token auto picks one."
            )
        elif len(ids) == 1 and token.lower() not in RARE_TOKENS and _is_common(tokenizer, ids[0]):
            advice.append(
                f"The token {token!r} is a word that the base already knows, and its meaning will get mixed into the "
                f"subject. Use a rare one such as {RARE_TOKENS[0]!r}; --token auto picks one."
            )
    return advice


def _is_common(tokenizer: Any, row: int) -> bool:
    # A small vocabulary, as the embedded base's, holds hardly anything but words in use.
    return row < COMMON_ROWS or len(tokenizer) < COMMON_ROWS
