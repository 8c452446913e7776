"""HyperNetwork against the formula, and as A1111 builds, names and chains it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.methods.hypernetwork import ACTIVATIONS, WEIGHTS, ContextNetwork, HyperNetworkConfig
from harness import draw, make_method, tensors, train, write

FILE = "hypernetwork.safetensors"
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn"  # 1: on 16 features, 2: on the prompt's 32


def randomise(method: Method, model: Family, seed: int = 0) -> dict[str, Tensor]:
    (group,) = method.attach(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in group.parameters.values():
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return {n: p.detach() for n, p in group.parameters.items()}


def parts(model: Family, which: int) -> Any:
    return model.components()["unet"].get_submodule(f"{ATTENTION}{which}")


@pytest.mark.parametrize(("which", "width"), [(1, 16), (2, 32)])
def test_keys_and_values_are_made_of_the_changed_context(toy: Family, which: int, width: int):
    attention, c = parts(toy, which), torch.randn(2, 5, width)
    query = attention.to_q(torch.randn(2, 5, 16)).detach()
    p = randomise(make_method("hypernetwork", activation="tanh"), toy)
    for part, layer in (("k", attention.to_k), ("v", attention.to_v)):
        f = {n.removeprefix(f"{width}.{part}.linear."): t for n, t in p.items()}
        hidden = torch.tanh(c @ f["0.weight"].T + f["0.bias"])
        changed = c + hidden @ f["2.weight"].T + f["2.bias"]
        torch.testing.assert_close(layer(c), changed @ layer.weight.T, atol=1e-5, rtol=1e-5)
    assert query.shape == (2, 5, 16)  # queries have no network
    assert not any(hook for hook in attention.to_q._forward_pre_hooks.values())


def test_every_width_has_a_pair_of_its_own_and_the_default_sizes_of_a1111(toy: Family):
    (group,) = make_method("hypernetwork").attach(toy, 0)
    shapes = {n: tuple(p.shape) for n, p in group.parameters.items()}
    assert shapes == {
        f"{width}.{part}.linear.{i}.{kind}": shape
        for width in (16, 32)
        for part in "kv"
        for i, kind, shape in (
            (0, "weight", (2 * width, width)),
            (0, "bias", (2 * width,)),
            (1, "weight", (width, 2 * width)),
            (1, "bias", (width,)),
        )
    }
    with torch.device("meta"):  # 768 text and 320, 640, 1280 features on Stable Diffusion 1.x
        networks = [ContextNetwork(w, HyperNetworkConfig()) for w in (320, 640, 768, 1280) for _ in "kv"]
    assert sum(p.numel() for n in networks for p in n.parameters()) * 4 / 2**20 == pytest.approx(83.7, abs=0.1)


def test_widths_choose_the_attentions(toy: Family):
    method = make_method("hypernetwork", widths=(16,))
    p = randomise(method, toy)
    assert {n.partition(".")[0] for n in p} == {"16"}
    assert parts(toy, 1).to_k._forward_pre_hooks
    assert not parts(toy, 2).to_k._forward_pre_hooks
    with pytest.raises(UsageError, match=r"context 768 wide.*\[16, 32\]"):
        make_method("hypernetwork", widths=(768,)).attach(toy, 0)


@pytest.mark.parametrize("settings", [{}, {"activation": "relu", "layer_norm": True, "activate_output": True}])
def test_the_default_start_is_the_base_exactly_and_learns(toy: Family, settings: dict[str, Any]):
    base = draw(toy.pipeline())
    method = make_method("hypernetwork", **settings)
    (group,) = method.attach(toy, 0)
    assert torch.equal(draw(toy.pipeline()), base)
    start = {n: p.detach().clone() for n, p in group.parameters.items()}
    method.detach(toy)
    assert all(not torch.equal(p, start[n.partition(".")[2]]) for n, p in train(toy, method, 3).items())


@pytest.mark.parametrize("how", [name for name in WEIGHTS if name != "identity"])
def test_initialisations_have_the_spread_that_they_are_named_after(how: str):
    torch.manual_seed(0)
    first, last = (m for m in ContextNetwork(128, HyperNetworkConfig(initialisation=how)).linear)
    for layer in (first, last):
        weight = layer.weight.detach()
        out, into = weight.shape
        std = {"normal": 0.01, "xavier": (2 / (out + into)) ** 0.5, "kaiming": (2 / into) ** 0.5}[how.split("_")[0]]
        assert float(weight.std()) == pytest.approx(std, rel=0.05)
        bounded = float(weight.abs().max()) <= 1.001 * 3**0.5 * std  # as a uniform distribution is
        assert bounded == how.endswith("uniform")
        assert not layer.bias.any()


def test_layers_stand_in_a1111_s_order():
    config = HyperNetworkConfig(
        layer_structure=(1, 2, 3, 1), activation="swish", layer_norm=True, dropout=0.3, activate_output=True
    )
    linear, hidden = ["Linear", "Hardswish", "LayerNorm"], ["GradientDropout"]
    names = [type(m).__name__ for m in ContextNetwork(4, config).linear]
    assert names == [*linear, *hidden, *linear, *hidden, *linear]
    for name, kind in ACTIVATIONS.items():
        layers = list(ContextNetwork(4, HyperNetworkConfig(activation=name)).linear)
        inner = [type(m) for m in layers if not isinstance(m, nn.Linear)]
        assert inner == ([] if name == "linear" else [kind])


def test_dropout_acts_while_gradients_are_recorded_only(toy: Family):
    randomise(make_method("hypernetwork", dropout=0.5), toy)
    layer, c = parts(toy, 2).to_k, torch.randn(1, 7, 32)
    assert not torch.equal(layer(c), layer(c))
    with torch.no_grad():
        assert torch.equal(layer(c), layer(c))


def test_strength_scales_what_the_networks_add(toy: Family):
    layer, c = parts(toy, 2).to_v, torch.randn(1, 7, 32)
    with torch.no_grad():
        base = layer(c)
        method = make_method("hypernetwork")
        randomise(method, toy)
        full = layer(c)
        method.set_strength(0.25)
        torch.testing.assert_close(layer(c), base + 0.25 * (full - base), atol=1e-5, rtol=1e-5)
        method.set_strength(0.0)
        assert torch.equal(layer(c), base)


def test_concepts_are_chained_and_leave_in_any_order(toy: Family):
    layer, c = parts(toy, 2).to_k, torch.randn(1, 7, 32)
    with torch.no_grad():
        base = layer(c)
        one, two = (make_method("hypernetwork", Subject(token, "dog")) for token in ("sks", "zwx"))
        networks: list[dict[str, Tensor]] = [randomise(m, toy, seed) for seed, m in enumerate((one, two))]
        changed = c
        for p in networks:
            f = {n.removeprefix("32.k.linear."): t for n, t in p.items()}
            changed = changed + (changed @ f["0.weight"].T + f["0.bias"]) @ f["1.weight"].T + f["1.bias"]
        torch.testing.assert_close(layer(c), changed @ layer.weight.T, atol=1e-5, rtol=1e-5)
        one.detach(toy)
        assert not torch.equal(layer(c), base)
        two.detach(toy)
        assert torch.equal(layer(c), base)


def test_the_header_holds_a1111_s_fields(toy: Family, tmp_path: Path):
    method = make_method("hypernetwork", layer_structure=(1, 2, 2, 1), activation="mish", dropout=0.3, steps=7)
    train(toy, method, 1)
    with safe_open(write(toy, method, tmp_path / "c") / FILE, "pt") as file:
        header = json.loads(file.metadata()["hypernetwork"])
    assert header == {
        "name": "sks",
        "step": 7,
        "layer_structure": [1, 2, 2, 1],
        "activation_func": "mish",
        "activate_output": False,
        "is_layer_norm": False,
        "weight_initialization": "identity",
        "use_dropout": True,
        "dropout_structure": [0, 0.3, 0.3, 0],
        "last_layer_dropout": True,
    }


def test_restore_names_what_does_not_fit_and_leaves_nothing_behind(toy: Family, tmp_path: Path):
    with pytest.raises(BadDataError, match=r"hypernetwork\.safetensors is missing"):
        make_method("hypernetwork").restore(toy, tmp_path)
    method = make_method("hypernetwork", activation="relu")
    train(toy, method, 1)
    write(toy, method, tmp_path / "c")
    method.detach(toy)
    before = set(tensors(toy))
    for settings, told in (
        ({"activation": "tanh"}, "activation_func differs"),
        ({"activation": "relu", "layer_structure": (1, 3, 1)}, "layer_structure differs"),
        ({"activation": "relu", "widths": (16,)}, r"32\.k\.linear\.0\.bias differs"),
    ):
        with pytest.raises(BadDataError, match=told):
            make_method("hypernetwork", **settings).restore(toy, tmp_path / "c")
        assert set(tensors(toy)) == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"layer_structure": (2, 1)}, "begin and end in 1"),
        ({"layer_structure": (1, -2, 1)}, "positive"),
        ({"activate_output": True}, "activate_output off"),
        ({"activation": "gelu"}, "linear"),
    ],
)
def test_what_cannot_be_built_is_refused(settings: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        HyperNetworkConfig(**settings)
