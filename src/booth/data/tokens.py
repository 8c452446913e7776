"""Advice on the word that is going to name a subject."""

from __future__ import annotations

from typing import Any

from booth.core.family import Family
from booth.core.method import Method
from booth.core.tokens import RARE_TOKENS

COMMON_ROWS = 20_000  # CLIP's rows are in the order of frequency: those ahead of this one are words people use


def advice_on_token(model: Family, method: Method) -> list[str]:
    """Warnings about a token that is a common word or, where no new row is made for it, falls into several tokens."""
    return [warning for subject in method.subject.all for warning in _advice(model, method, subject.token)]


def _advice(model: Family, method: Method, token: str) -> list[str]:
    better = f"Use a rare one such as {RARE_TOKENS[0]!r}; --token auto picks one."
    if token in RARE_TOKENS or not model.sites.token_tables:
        return []
    tokenizer = model.sites.token_tables[0].tokenizer()
    rows = tokenizer(token, add_special_tokens=False).input_ids
    if len(rows) == 1 and _is_common(tokenizer, rows[0]):
        return [f"The base knows the token {token!r} as a word, whose meaning will mix into the subject. {better}"]
    if len(rows) > 1 and not method.learns_word:
        return [f"The token {token!r} is {len(rows)} tokens to this base, which learns slower than one. {better}"]
    return []


def _is_common(tokenizer: Any, row: int) -> bool:
    # A small vocabulary, as the embedded base's, holds hardly anything but words in use.
    return row < COMMON_ROWS or len(tokenizer) < COMMON_ROWS
