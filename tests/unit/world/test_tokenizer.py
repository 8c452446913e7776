"""The tokenizer: every word one token, and the same numbers every time."""

import os
import subprocess
import sys
from pathlib import Path

from transformers import CLIPTokenizer

from booth.core.tokens import RARE_TOKENS
from booth.world.tokenizer import learn_merges, write_tokenizer

WORDS = ["dog", "dogs", "cat", "stuffed", "animal", "teapot", "a", "aaaa", "banana", "sks"]


def test_every_word_is_one_token_and_other_words_can_still_be_spelled(tmp_path: Path):
    write_tokenizer(WORDS, tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert all(tokenizer.tokenize(word) == [f"{word}</w>"] for word in (*WORDS, *RARE_TOKENS))
    assert "".join(tokenizer.tokenize("zebra")) == "zebra</w>"
    assert tokenizer("A  dog").input_ids == tokenizer("a dog").input_ids


def test_merges_do_not_depend_on_the_order_of_the_words_or_on_the_process():
    code = f"from booth.world.tokenizer import learn_merges; print(learn_merges({WORDS[::-1]!r}))"
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == str(learn_merges(WORDS))
