"""Advice on the word that names a subject, and captions that are longer than the base reads."""

import pytest

from booth.core.family import Family
from booth.core.method import Subject
from booth.core.tokens import RARE_TOKENS
from booth.data.captions import with_subject
from booth.data.tokens import advice_on_token, fitted, length_of
from booth.registry import METHODS


def advice(model: Family, token: str, method: str) -> list[str]:
    return advice_on_token(model, METHODS[method](METHODS[method].Config(), Subject(token, "dog")))


@pytest.mark.parametrize("method", METHODS)
def test_a_common_word_is_warned_about_whatever_the_method(toy: Family, method: str) -> None:
    (warning,) = advice(toy, "red", method)
    assert "knows the token 'red'" in warning
    assert "`token=auto`" in warning


@pytest.mark.parametrize("token", RARE_TOKENS)
def test_rare_tokens_need_no_advice_and_are_one_row(toy: Family, token: str) -> None:
    assert advice(toy, token, "lora") == []
    assert len(toy.sites.token_tables[0].tokenizer()(token, add_special_tokens=False).input_ids) == 1


def test_a_token_of_many_pieces_is_warned_about_unless_it_gets_a_row_of_its_own(toy: Family) -> None:
    (warning,) = advice(toy, "rexthedog", "lora")
    assert "tokens to this base" in warning
    assert advice(toy, "rexthedog", "textual_inversion") == []
    assert advice(toy, "rexthedog", "two_stage") == []


LONG = ", ".join(["a red square on a plain grey ground"] * 20)


def test_what_is_cut_of_a_long_caption_is_told(toy: Family) -> None:
    length = length_of(toy, LONG)
    assert length is not None
    assert length.tokens > length.limit
    assert length.lost
    assert LONG.replace(" ", "").endswith(length.lost.replace(" ", ""))
    short = length_of(toy, "sks dog")
    assert short is not None
    assert short.lost == ""


@pytest.mark.parametrize("front", [False, True])
def test_the_subject_is_never_what_is_cut(toy: Family, front: bool) -> None:
    dog = Subject("sks", "dog")
    assert fitted(toy, f"{LONG}, sks dog", dog, front) == f"sks dog, {LONG}, sks dog"
    assert fitted(toy, f"sks dog, {LONG}", dog, front) == f"sks dog, {LONG}"
    assert fitted(toy, "on grass, sks dog", dog, front) == "on grass, sks dog"
    early = f"on grass, sks dog, {LONG}"
    assert fitted(toy, early, dog, front) == (f"sks dog, {early}" if front else early)


def test_a_style_goes_in_front_of_a_caption_that_is_too_long_for_it(toy: Family) -> None:
    style = Subject("sks", "style", "style")
    assert fitted(toy, with_subject(LONG, style), style).startswith("sks style, a red")
