"""Words as the base counts them: the one that names a subject, and captions that are longer than it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.core.tokens import RARE_TOKENS

UNLIMITED = 100_000  # tokens: a tokenizer's way to say that it knows no limit
COMMON_ROWS = 20_000  # CLIP's rows are in the order of frequency: those ahead of this one are words people use


@dataclass(frozen=True)
class Length:
    """How long a prompt is to a base."""

    tokens: int  # with those that the tokenizer sets around
    limit: int  # how many the base reads
    lost: str  # the words that are cut, "" for none
    room: int  # how many tokens of the words themselves are read


def length_of(model: Family, prompt: str) -> Length | None:
    """How many tokens a prompt has, and what of it is cut; None for a base that tells no limit.

    Of several text encoders the one that reads furthest counts, for it alone tells what nobody reads.
    """
    read = [
        (min(tokenizer.model_max_length, getattr(model, "prompt_limit", None) or UNLIMITED), i, tokenizer)
        for i, table in enumerate(model.sites.token_tables)
        for tokenizer in (table.tokenizer(),)
    ]
    if not read or max(read)[0] >= UNLIMITED:
        return None
    limit, _, tokenizer = max(read)
    expand: Callable[[str], str] | None = getattr(model, "expand", None)  # of a token of several vectors
    prompt = expand(prompt) if expand else prompt
    words: list[int] = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    count = len(tokenizer(prompt, verbose=False).input_ids)
    room = limit - (count - len(words))
    return Length(count, limit, tokenizer.decode(words[room:]).strip() if count > limit else "", room)


def fitted(model: Family, caption: str, subject: Subject, front: bool = False) -> str:
    """A caption with its subject in front if it is longer than the base reads and the subject would be cut.

    With `front` also where the subject is further back in a long caption whose parts change places.
    """
    found = re.search(rf"(?<!\w){re.escape(subject.token)}(?!\w)", caption, re.IGNORECASE) if subject.name else None
    if found is None:
        return caption
    length = length_of(model, caption)
    if length is None or not length.lost:
        return caption
    before = length_of(model, caption[: found.end()])
    ahead = not caption[: found.start()].strip()
    if ahead or (not front and before is not None and not before.lost):
        return caption
    return f"{subject.name}, {caption}"


def advice_on_token(model: Family, method: Method) -> list[str]:
    """Warnings about a token that is a common word or, where no new row is made for it, falls into several tokens."""
    return [warning for subject in method.subject.all for warning in _advice(model, method, subject.token)]


def _advice(model: Family, method: Method, token: str) -> list[str]:
    better = f"Use a rare one such as {RARE_TOKENS[0]!r}; `token=auto` picks one."
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
