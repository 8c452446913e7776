"""Advice on the word that names a subject."""

import pytest

from booth.core.family import Family
from booth.core.method import Subject
from booth.core.tokens import RARE_TOKENS
from booth.data.tokens import advice_on_token
from booth.registry import METHODS


def advice(model: Family, token: str, method: str) -> list[str]:
    return advice_on_token(model, METHODS[method](METHODS[method].Config(), Subject(token, "dog")))


@pytest.mark.parametrize("method", METHODS)
def test_a_common_word_is_warned_about_whatever_the_method(toy: Family, method: str) -> None:
    (warning,) = advice(toy, "red", method)
    assert "knows the token 'red'" in warning
    assert "--token auto" in warning


@pytest.mark.parametrize("token", RARE_TOKENS)
def test_rare_tokens_need_no_advice_and_are_one_row(toy: Family, token: str) -> None:
    assert advice(toy, token, "lora") == []
    assert len(toy.sites.token_tables[0].tokenizer()(token, add_special_tokens=False).input_ids) == 1


def test_a_token_of_many_pieces_is_warned_about_unless_it_gets_a_row_of_its_own(toy: Family) -> None:
    (warning,) = advice(toy, "rexthedog", "lora")
    assert "tokens to this base" in warning
    assert advice(toy, "rexthedog", "textual_inversion") == []
    assert advice(toy, "rexthedog", "two_stage") == []
