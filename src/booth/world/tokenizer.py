"""A CLIP-format byte-pair tokenizer in which every word of the world is one token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from booth.core.tokens import RARE_TOKENS

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 32  # the longest DreamBooth prompt has 16 tokens; two objects and a scene need 24


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes, in the order of CLIP's vocabulary."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """The byte pairs to join, in order, until every word is one token.

    Ties go to the pair that sorts first: `tokenizers.trainers.BpeTrainer` breaks them in an order that changes from
    one run to the next, and with it every token's number.
    """
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for piece in pieces for pair in pairwise(piece)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for piece in pieces:
            i = 0
            while i < len(piece) - 1:  # from the left, as the merges are applied later
                if tuple(piece[i : i + 2]) == best:
                    piece[i : i + 2] = ["".join(best)]
                i += 1
    return merges


def write_tokenizer(words: Iterable[str], folder: Path) -> None:
    """Learn the merges of `words` and write vocab.json, merges.txt and the configuration into `folder`."""
    words = sorted({*(w.lower() for w in words), *RARE_TOKENS})
    alphabet = byte_alphabet()
    merges = learn_merges(words)
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(m) for m in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config: dict[str, Any] = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    special = {k: config[k] for k in ("bos_token", "eos_token", "pad_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
