"""Textual Inversion: new rows only, as diffusers reads them, with their norm under control."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.sites import Sites, TokenTable
from booth.methods.templates import OBJECT_TEMPLATES
from booth.methods.textual_inversion import ExtendedTable
from harness import PROMPT, attach, draw, load_with_diffusers, make_method, steps, tensors, train, write


def table(model: Family) -> nn.Module:
    return model.sites.token_tables[0].embedding()


def test_all_other_rows_are_bit_identical_after_adamw_with_weight_decay(toy: Family):
    old = table(toy).weight.detach().clone()
    method = make_method("textual_inversion", weight_decay=0.5, templates="object")
    update = attach(toy, method.plan()[0])
    start = table(toy).rows.detach().clone()
    steps(toy, update, 0, 20)
    assert torch.equal(table(toy).weight[: len(old)], old)
    assert torch.equal(table(toy)(torch.arange(len(old))), old)
    assert not torch.equal(table(toy).rows, start)


def test_rows_do_not_decay(toy: Family):
    method = make_method("textual_inversion", weight_decay=0.5, keep_norm=False)
    update = attach(toy, method.plan()[0])
    before = table(toy).rows.detach().clone()
    update.backward((table(toy).rows * 0).sum())  # no gradient: whatever moves a row now is decay
    update.step(0, 0.0)
    assert torch.equal(table(toy).rows, before)


def test_the_extended_table_is_an_embedding_of_both_tables_and_gradient_reaches_the_rows_alone():
    torch.manual_seed(0)
    old, rows = nn.Embedding(7, 3), torch.randn(2, 3)
    extended = ExtendedTable(old, 5, rows.clone())  # a table may be longer than its tokenizer
    ids = torch.tensor([[0, 4, 5], [6, 6, 1]])
    whole = torch.cat([old.weight[:5].detach(), rows]).requires_grad_()
    assert torch.equal(extended(ids), F.embedding(ids, whole))
    assert torch.equal(extended.weight, whole)
    weights = torch.randn(2, 3, 3)
    old.weight.requires_grad_(False)
    (extended(ids) * weights).sum().backward()
    (F.embedding(ids, whole) * weights).sum().backward()
    assert torch.allclose(extended.rows.grad, whole.grad[5:])
    assert old.weight.grad is None


@pytest.mark.parametrize(("noun", "init_word"), [("dog", None), ("stuffed animal", None), ("dog", "cat")])
def test_rows_start_from_the_mean_of_the_words_rows(toy: Family, noun: str, init_word: str | None):
    weight = table(toy).weight.detach()
    ids = toy.tokenizer(init_word or noun, add_special_tokens=False).input_ids
    assert len(ids) == len((init_word or noun).split())
    method = make_method("textual_inversion", Subject("sks", noun), init_word=init_word, vectors=3)
    method.attach(toy, 0)
    rows = table(toy).rows
    assert torch.equal(rows[0], weight[ids].mean(0))
    median = weight.norm(dim=1).median()
    for i in (1, 2):  # near the word, and each its own
        assert 0 < (rows[i] - rows[0]).norm() < 0.2 * median
    assert not torch.equal(rows[1], rows[2])


def test_constrain_pulls_the_norm_as_pti_does(toy: Family):
    median = table(toy).weight.detach().norm(dim=1).median()
    method = make_method("textual_inversion", learning_rate=2e-3, vectors=1, keep_norm=True)
    method.attach(toy, 0)
    rows = table(toy).rows
    v = rows.detach() * 7
    with torch.no_grad():
        rows.copy_(v)
    method.constrain()
    pull = 100 * 2e-3
    expected = v / v.norm() * (v.norm() + pull * (median - v.norm()))
    assert torch.allclose(rows, expected)
    for _ in range(60):
        method.constrain()
    assert torch.allclose(rows.norm(), median)
    assert torch.allclose(F.cosine_similarity(rows, v), torch.ones(1))


def test_a_high_rate_sets_the_norm_at_once_and_the_setting_switches_it_off(toy: Family):
    median = table(toy).weight.detach().norm(dim=1).median()
    for keep, expected in ((True, median), (False, 7 * median)):
        method = make_method("textual_inversion", learning_rate=0.5, vectors=1, keep_norm=keep)
        method.attach(toy, 0)
        rows = table(toy).rows
        with torch.no_grad():
            rows.mul_(7 * median / rows.norm())
        method.constrain()
        assert torch.allclose(rows.norm(), expected)
        method.detach(toy)


def test_norms_are_controlled_while_training(toy: Family):
    median = float(table(toy).weight.detach().norm(dim=1).median())
    method = make_method("textual_inversion", learning_rate=0.05, vectors=2, keep_norm=True)
    steps(toy, attach(toy, method.plan()[0]), 0, 5)
    assert table(toy).rows.norm(dim=1).tolist() == pytest.approx([median, median], rel=1e-5)


def test_the_token_becomes_an_added_token_and_several_vectors_a_row_of_tokens(toy: Family):
    ordinary = toy.tokenizer(PROMPT).input_ids
    first = len(toy.tokenizer)
    method = make_method("textual_inversion", vectors=3)
    method.attach(toy, 0)
    assert toy.expand(PROMPT) == "a photo of sks sks_1 sks_2 dog"
    ids = toy.tokenizer(toy.expand(PROMPT)).input_ids
    position = ordinary.index(toy.tokenizer("dog", add_special_tokens=False).input_ids[0]) - 1
    assert ids == [*ordinary[:position], first, first + 1, first + 2, *ordinary[position + 1 :]]
    assert {"sks", "sks_1", "sks_2"} <= toy.tokenizer.added_tokens_encoder.keys()


@pytest.mark.parametrize("vectors", [1, 3])
def test_the_file_holds_the_rows_under_the_token_and_the_loader_makes_the_same_prompt(
    toy: Family, toy_base: Path, tmp_path: Path, vectors: int
):
    method = make_method("textual_inversion", vectors=vectors)
    train(toy, method)
    folder = write(toy, method, tmp_path / "concept")
    saved = load_file(folder / "learned_embeds.safetensors")
    assert {name: t.shape for name, t in saved.items()} == {"sks": (vectors, 32)}
    assert torch.equal(saved["sks"], table(toy).rows)
    pipe = load_with_diffusers(toy_base, folder)
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight, table(toy).weight)
    prompt = pipe.maybe_convert_prompt(PROMPT, pipe.tokenizer)
    assert pipe.tokenizer(prompt).input_ids == toy.tokenizer(toy.expand(PROMPT)).input_ids
    assert torch.equal(toy.embed([PROMPT]).tokens, pipe.encode_prompt([PROMPT], "cpu", 1, False)[0])


def test_every_vector_learns(toy: Family):
    update = attach(toy, make_method("textual_inversion", vectors=3, keep_norm=False).plan()[0])
    start = table(toy).rows.detach().clone()
    steps(toy, update, 0, 1)
    assert (table(toy).rows != start).any(dim=1).tolist() == [True, True, True]


def test_prompts_are_the_published_templates_with_the_noun_beside_the_token():
    prompts = make_method("textual_inversion", templates="object").prompts()
    assert prompts[0] == PROMPT
    assert len(OBJECT_TEMPLATES) == 27
    assert len(set(prompts)) == 28
    assert all(p.endswith("sks dog") for p in prompts)
    assert make_method("textual_inversion", templates="plain").prompts() == [PROMPT]


@pytest.mark.parametrize("token", ["dog</w>", "a"])
def test_a_token_that_is_already_a_word_is_refused_with_the_way_out(toy: Family, token: str):
    before = toy.tokenizer
    with pytest.raises(UsageError, match="`token`"):
        make_method("textual_inversion", Subject(token, "dog")).attach(toy, 0)
    assert toy.tokenizer is before


def test_two_concepts_draw_together_if_their_tokens_differ(toy: Family, toy_base: Path, tmp_path: Path):
    folders: list[Path] = []
    for token, noun in (("sks", "dog"), ("zwx", "cat")):
        method = make_method("textual_inversion", Subject(token, noun), vectors=2)
        train(toy, method)
        folders.append(write(toy, method, tmp_path / token))
        method.detach(toy)
    base = draw(toy.pipeline())
    one, two = (make_method("textual_inversion", Subject(t, "dog")) for t in ("sks", "zwx"))
    one.restore(toy, folders[0])
    two.restore(toy, folders[1])
    pipe = load_with_diffusers(toy_base, folders[0])
    pipe.load_textual_inversion(folders[1], weight_name="learned_embeds.safetensors")
    both = "a photo of sks dog with a zwx cat"
    assert torch.equal(draw(toy.pipeline(), both), draw(pipe, both))
    with pytest.raises(UsageError, match="token of its own"):
        make_method("textual_inversion").restore(toy, folders[0])
    two.detach(toy)
    one.detach(toy)
    assert torch.equal(draw(toy.pipeline()), base)


def test_remembered_embeddings_are_dropped_when_the_token_changes(toy: Family):
    toy.remember_embeddings(True)
    before = toy.embed([PROMPT]).tokens
    method = make_method("textual_inversion", init_word="cat")
    method.attach(toy, 0)
    changed = toy.embed([PROMPT]).tokens
    assert not torch.equal(changed, before)
    method.detach(toy)
    assert torch.equal(toy.embed([PROMPT]).tokens, before)


def test_restore_names_what_does_not_fit(toy: Family, tmp_path: Path):
    method = make_method("textual_inversion")
    with pytest.raises(BadDataError, match=r"learned_embeds\.safetensors is missing"):
        method.restore(toy, tmp_path)
    save_file({"other": torch.zeros(1, 32)}, tmp_path / "learned_embeds.safetensors")
    with pytest.raises(BadDataError, match="holds 'other', not 'sks'"):
        method.restore(toy, tmp_path)
    save_file({"sks": torch.zeros(1, 768)}, tmp_path / "learned_embeds.safetensors")
    with pytest.raises(BadDataError, match="width 768; this base has 32"):
        method.restore(toy, tmp_path)
    assert tensors(toy).keys() == {n for n in tensors(toy) if "rows" not in n}


def test_each_of_several_tables_gets_rows_of_its_own(toy: Family, tmp_path: Path):
    """A family with two text encoders; the second table is a plain one that only this test looks into."""
    held = {"embedding": nn.Embedding(len(toy.tokenizer), 5).requires_grad_(False), "tokenizer": toy.tokenizer}
    second = TokenTable(
        name="text_encoder_2",
        dim=5,
        embedding=lambda: held["embedding"],
        set_embedding=lambda m: held.update(embedding=m),
        tokenizer=lambda: held["tokenizer"],
        set_tokenizer=lambda t: held.update(tokenizer=t),
    )
    toy.sites = Sites(token_tables=(*toy.sites.token_tables, second))
    method = make_method("textual_inversion")
    (group,) = method.attach(toy, 0)
    assert {n: tuple(p.shape) for n, p in group.parameters.items()} == {
        "text_encoder.rows": (8, 32),
        "text_encoder_2.rows": (8, 5),
    }
    method.write(toy, tmp_path)
    method.detach(toy)
    assert isinstance(held["embedding"], nn.Embedding)
    method.restore(toy, tmp_path)
    assert held["embedding"].rows.shape == (8, 5)


def test_strength_is_not_offered():
    with pytest.raises(UsageError, match="no strength"):
        make_method("textual_inversion").set_strength(0.5)
