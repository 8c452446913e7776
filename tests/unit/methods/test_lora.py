"""LoRA against peft's own merge, the formula, and its settings."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.methods.lora import LoRA
from harness import draw, make_method, train, write


def randomise(method: Method, model: Family, seed: int = 0) -> dict[str, Tensor]:
    """Attach with B no longer zero, as after a long training; the factors by name."""
    factors = {n: p for g in method.attach(model, seed) for n, p in g.parameters.items()}
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in factors.values():
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return factors


def predict(unet: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, words = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor([10, 700]), encoder_hidden_states=words).sample


def test_the_adapter_equals_pefts_merge_and_the_formula(toy: Family):
    unet = toy.components()["unet"]
    by_peft, by_hand = copy.deepcopy(unet), copy.deepcopy(unet)
    method = make_method("lora", rank=4, alpha=6.0)
    factors = {n.removeprefix("unet."): p.detach() for n, p in randomise(method, toy).items()}
    ours = predict(unet)

    targets = toy.sites.linears["unet"].targets(["attention", "feed_forward"])
    wrapped = get_peft_model(by_peft, LoraConfig(r=4, lora_alpha=6, target_modules=targets))
    named = dict(wrapped.base_model.model.named_parameters())
    with torch.no_grad():
        for name, tensor in factors.items():
            named[name.replace(".weight", ".default.weight")].copy_(tensor)
    merged = wrapped.merge_and_unload()
    assert not any(isinstance(m, LoraLayer) for m in merged.modules())
    assert torch.allclose(ours, predict(merged), atol=1e-5)

    with torch.no_grad():
        for name, a in factors.items():
            if "lora_A" in name:
                layer = by_hand.get_submodule(name.removesuffix(".lora_A.weight"))
                layer.weight += 6 / 4 * factors[name.replace("lora_A", "lora_B")] @ a
    assert torch.allclose(ours, predict(by_hand), atol=1e-5)
    assert not torch.allclose(ours, predict(copy_of_base(method, toy)), atol=1e-2)


def copy_of_base(method: Method, model: Family) -> nn.Module:
    method.detach(model)
    return model.components()["unet"]


def test_it_starts_as_the_base_with_a_kaiming_and_b_zero(toy: Family):
    base = draw(toy.pipeline())
    (group,) = make_method("lora", rank=8).attach(toy, 0)
    assert torch.equal(draw(toy.pipeline()), base)
    for name, p in group.parameters.items():
        if "lora_B" in name:
            assert not p.any()
        else:  # Kaiming-uniform with a = sqrt 5 is uniform within 1 / sqrt(fan_in)
            bound = p.shape[1] ** -0.5
            assert 0.8 * bound < p.abs().max() <= bound
            assert p.shape[0] == 8


@pytest.mark.parametrize(("settings", "scale"), [({"rank": 8}, 1.0), ({"rank": 8, "alpha": 2.0}, 0.25)])
def test_the_scale_is_alpha_over_rank_and_both_survive_in_the_file(toy: Family, tmp_path: Path, settings, scale):
    method = make_method("lora", **settings)
    train(toy, method, 1)
    layers = [m for m in toy.components()["unet"].modules() if isinstance(m, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {scale}
    write(toy, method, tmp_path / "c")
    with safe_open(tmp_path / "c" / "pytorch_lora_weights.safetensors", "pt") as file:
        header = json.loads(file.metadata()["lora_adapter_metadata"])
    assert header["unet.r"] == 8
    assert header["unet.lora_alpha"] / header["unet.r"] == scale


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("attention",), {"to_q", "to_k", "to_v", "0"}),
        (("feed_forward",), {"proj", "2"}),
        (("attention", "feed_forward"), {"to_q", "to_k", "to_v", "0", "proj", "2"}),
    ],
)
def test_targets_choose_the_layers(toy: Family, targets, expected):
    make_method("lora", targets=targets).attach(toy, 0)
    names = [n for n, m in toy.components()["unet"].named_modules() if isinstance(m, LoraLayer)]
    assert {n.rpartition(".")[2] for n in names} == expected
    assert all(".attn" in n or ".ff." in n for n in names)
    assert all((".attn" in n) == (targets != ("feed_forward",)) for n in names if len(targets) == 1)


def test_an_unknown_target_is_a_usage_error(toy: Family):
    with pytest.raises(UsageError, match=r"'convolutions'.*attention, feed_forward"):
        make_method("lora", targets=("convolutions",)).attach(toy, 0)


def test_the_text_encoder_joins_on_request_at_its_own_rate(toy: Family):
    assert [g.name for g in make_method("lora").attach(toy, 0)] == ["unet"]
    method = make_method("lora", train_text_encoder=True, learning_rate=1e-3, text_encoder_learning_rate=1e-5)
    groups = {g.name: g for g in method.attach(toy, 0)}
    assert {n: g.learning_rate for n, g in groups.items()} == {"unet": 1e-3, "text_encoder": 1e-5}
    # Two layers, six linears each, two factors a linear.
    assert len(groups["text_encoder"].parameters) == 24


def test_dropout_acts_while_gradients_are_recorded_only(toy: Family):
    method = make_method("lora", dropout=0.5)
    randomise(method, toy)
    unet = toy.components()["unet"]
    assert torch.equal(predict(unet), predict(unet))
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([5]), torch.randn(1, 7, 32)
    once, again = (unet(*inputs).sample for _ in range(2))
    assert not torch.equal(once, again)


def test_strength_scales_the_update(toy: Family):
    base = predict(toy.components()["unet"])
    method = make_method("lora", rank=4, alpha=8.0)
    randomise(method, toy)
    full = predict(toy.components()["unet"])
    method.set_strength(0.0)
    assert torch.allclose(predict(toy.components()["unet"]), base, atol=1e-6)
    method.set_strength(0.5)
    half = predict(toy.components()["unet"])
    layers = [m for m in toy.components()["unet"].modules() if isinstance(m, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {1.0}  # 0.5 * 8 / 4
    assert not torch.allclose(half, full, atol=1e-3)
    assert not torch.allclose(half, base, atol=1e-3)
    method.set_strength(1.0)
    assert torch.equal(predict(toy.components()["unet"]), full)


@pytest.mark.parametrize("first_out", [0, 1])
def test_two_concepts_add_up_and_leave_in_any_order(toy: Family, tmp_path: Path, first_out: int):
    unet = toy.components()["unet"]
    base, alone = predict(unet), []
    methods: list[LoRA] = []
    for seed, noun in ((0, "dog"), (7, "cat")):
        method = make_method("lora", Subject("sks", noun), rank=2 + seed)
        randomise(method, toy, seed)
        write(toy, method, tmp_path / noun)
        alone.append(predict(unet))
        method.detach(toy)
        methods.append(method)
    for method, noun in zip(methods, ("dog", "cat"), strict=True):
        method.restore(toy, tmp_path / noun)
    both = predict(unet)
    assert not any(torch.allclose(both, one, atol=1e-3) for one in alone)
    methods[first_out].set_strength(0.0)
    assert torch.allclose(predict(unet), alone[1 - first_out], atol=1e-5)
    methods[first_out].detach(toy)
    assert torch.allclose(predict(unet), alone[1 - first_out], atol=1e-5)
    methods[1 - first_out].detach(toy)
    assert torch.equal(predict(unet), base)
    assert not any(isinstance(m, LoraLayer) for m in unet.modules())


def test_restore_names_what_does_not_fit_and_leaves_nothing_behind(toy: Family, tmp_path: Path):
    with pytest.raises(BadDataError, match=r"pytorch_lora_weights\.safetensors is missing"):
        make_method("lora").restore(toy, tmp_path)
    method = make_method("lora", rank=4)
    train(toy, method, 1)
    write(toy, method, tmp_path / "c")
    method.detach(toy)
    for settings in ({"rank": 8}, {"rank": 4, "targets": ("attention",)}, {"rank": 4, "train_text_encoder": True}):
        with pytest.raises(BadDataError, match="does not fit"):
            make_method("lora", **settings).restore(toy, tmp_path / "c")
        assert not any(isinstance(m, LoraLayer) for c in toy.components().values() for m in c.modules())


def test_the_prior_is_optional():
    assert make_method("lora").defaults("full")["prior_weight"] == 0.0
    assert make_method("lora", prior_weight=1.0).config.prior_weight == 1.0
