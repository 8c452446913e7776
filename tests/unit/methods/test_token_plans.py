"""Pivotal tuning, joint training and Custom Diffusion: what moves when, at which rate, and what the files are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from harness import PROMPT, attach, draw, freeze, make_method, steps, tensors, train, write

FILE = "pytorch_custom_diffusion_weights.safetensors"


def rows(model: Family) -> torch.Tensor:
    return model.sites.token_tables[0].embedding().rows


def predict(model: Family) -> torch.Tensor:
    with torch.no_grad():
        return model.components()["unet"](torch.ones(1, 4, 8, 8), 5, torch.ones(1, 7, 32)).sample


@pytest.mark.parametrize("token", ["moving", "frozen"])
def test_the_token_moves_or_not_while_the_lora_is_learned(toy: Family, token: str):
    method = make_method("pivotal_tuning", token=token, moving_learning_rate=3e-3, keep_norm=False)
    first, second = method.plan()
    assert (first.name, second.name) == ("token", "lora")
    update = attach(toy, first)
    assert list(update.parameters()) == ["text_encoder.rows"]
    steps(toy, update, 0, 2)
    freeze(update.groups)
    pivot = rows(toy).detach().clone()
    update = attach(toy, second)
    assert {g.name: g.learning_rate for g in update.groups} == (
        {"unet": 5e-4, "rows": 3e-3} if token == "moving" else {"unet": 5e-4}
    )
    assert all(g.weight_decay == 0 for g in update.groups if g.name == "rows")
    steps(toy, update, 0, 2)
    assert torch.equal(rows(toy), pivot) == (token == "frozen")


def test_a_moving_token_is_saved_where_it_ended_and_kept_near_its_norm(toy: Family, tmp_path: Path):
    method = make_method("pivotal_tuning", token_learning_rate=1e-2, moving_learning_rate=5e-2)
    train(toy, method)
    assert torch.equal(load_file(write(toy, method, tmp_path / "c") / "learned_embeds.safetensors")["sks"], rows(toy))
    table = toy.sites.token_tables[0].embedding().table.weight
    torch.testing.assert_close(rows(toy).norm(), table.norm(dim=1).median())


def test_each_stage_of_pivotal_tuning_gets_its_own_settings():
    method = make_method(
        "pivotal_tuning", token_steps=7, token_batch_size=3, token_learning_rate=2e-3, vectors=2, init_word="cat",
        steps=9, learning_rate=4e-4, batch_size=5, rank=6, alpha=3.0, blocks="attn2", prior_weight=0.7, ema=0.9,
    )  # fmt: skip
    token, lora = (stage.method.config for stage in method.plan())
    assert (token.steps, token.batch_size, token.learning_rate, token.prior_weight) == (7, 3, 2e-3, 0.0)
    assert (token.vectors, token.init_word, token.templates) == (2, "cat", "plain")
    assert (lora.steps, lora.batch_size, lora.learning_rate, lora.prior_weight) == (9, 5, 4e-4, 0.7)
    assert (lora.rank, lora.alpha, lora.blocks) == (6, 3.0, "attn2")
    assert token.ema == lora.ema == 0.9
    assert [stage.method.prompts() for stage in method.plan()] == [[PROMPT], [PROMPT]]


@pytest.mark.parametrize("with_text", [False, True])
def test_token_and_lora_learn_in_one_stage(toy: Family, with_text: bool):
    method = make_method("ti_lora", train_text_encoder=with_text, token_learning_rate=2e-2, keep_norm=False)
    (stage,) = method.plan()
    update = attach(toy, stage)
    rates = {g.name: g.learning_rate for g in update.groups}
    assert rates == {"rows": 2e-2, "unet": 5e-4} | ({"text_encoder": 5e-4} if with_text else {})
    before = {n: p.detach().clone() for n, p in update.parameters().items()}
    steps(toy, update, 0, 2)  # in the first only B has a gradient
    assert all(not torch.equal(p, before[n]) for n, p in update.parameters().items())


@pytest.mark.parametrize("name", ["ti_lora", "pivotal_tuning"])
def test_strength_is_the_lora_s(toy: Family, name: str):
    base = predict(toy)
    method = make_method(name, learning_rate=1e-1)
    train(toy, method)
    assert not torch.allclose(predict(toy), base, atol=1e-3)
    method.set_strength(0.0)
    torch.testing.assert_close(predict(toy), base, atol=1e-5, rtol=1e-5)


def test_custom_diffusion_moves_keys_and_values_of_the_prompt_and_the_token(toy: Family):
    names = {id(p): n for n, p in tensors(toy).items()}
    keys_values, token = make_method("custom_diffusion").attach(toy, 0)
    moving = {names[id(p)] for p in keys_values.parameters.values()}
    assert moving == {n for n in names.values() if n.startswith("unet.") and "attn2.to_" in n and n[-8] in "kv"}
    assert len(moving) == 2 * len(toy.sites.cross_attention)
    assert list(token.parameters) == ["text_encoder.rows"]
    assert (token.learning_rate, keys_values.learning_rate) == (3e-3, 1e-3)


def test_the_first_token_gives_custom_diffusion_no_gradient(toy: Family):
    unet, x = toy.components()["unet"], torch.randn(1, 7, 32, requires_grad=True)
    layer = unet.get_submodule(f"{toy.sites.cross_attention[0]}.to_k")
    plain = layer(x).detach()
    make_method("custom_diffusion").attach(toy, 0)
    out = layer(x)
    assert torch.equal(out, plain)
    out.sum().backward()
    assert x.grad is not None
    assert not x.grad[:, 0].any()
    assert x.grad[:, 1:].any(dim=-1).all()
    torch.testing.assert_close(layer.weight.grad, x.detach()[:, 1:].sum((0, 1)).expand_as(layer.weight))


def test_custom_diffusion_s_file_names_all_attentions_as_diffusers_wants_them(toy: Family, tmp_path: Path):
    method = make_method("custom_diffusion")
    train(toy, method, 1)
    saved = load_file(write(toy, method, tmp_path / "c") / FILE)
    processors = set(toy.components()["unet"].attn_processors)
    assert {n if n in processors else n.rpartition(".to_")[0] for n in saved} == processors
    for name in toy.sites.cross_attention:
        layer = toy.components()["unet"].get_submodule(f"{name}.to_v")
        assert torch.equal(saved[f"{name}.processor.to_v_custom_diffusion.weight"], layer.weight)


@pytest.mark.parametrize("other", ["custom_diffusion", "dreambooth"])
def test_one_concept_at_a_time_holds_the_weights(toy: Family, tmp_path: Path, other: str):
    method = make_method("custom_diffusion")
    train(toy, method, 1)
    folder = write(toy, method, tmp_path / "c")
    picture = draw(toy.pipeline())
    with pytest.raises(UsageError, match="already holds"):
        make_method(other, Subject("zwx", "cat")).attach(toy, 0)
    assert torch.equal(draw(toy.pipeline()), picture)
    method.detach(toy)
    make_method(other, Subject("zwx", "cat")).attach(toy, 0)
    with pytest.raises(UsageError, match="already holds"):
        make_method("custom_diffusion").restore(toy, folder)


def test_custom_diffusion_names_what_does_not_fit(toy: Family, tmp_path: Path):
    with pytest.raises(BadDataError, match=r"custom_diffusion_weights\.safetensors is missing"):
        make_method("custom_diffusion").restore(toy, tmp_path)
    method = make_method("custom_diffusion")
    train(toy, method, 1)
    folder = write(toy, method, tmp_path / "c")
    method.detach(toy)
    toy.sites = type(toy.sites)(**{**vars(toy.sites), "cross_attention": toy.sites.cross_attention[1:]})
    before = {n: t.clone() for n, t in tensors(toy).items()}
    with pytest.raises(BadDataError, match="does not fit toy"):
        make_method("custom_diffusion").restore(toy, folder)
    assert all(torch.equal(t, before[n]) for n, t in tensors(toy).items())
