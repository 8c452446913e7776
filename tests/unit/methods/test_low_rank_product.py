"""A layer with its low-rank update as one operation: peft's numbers, and peft itself where it is not plain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

from booth.core.family import Family
from booth.methods import low_rank_product
from booth.methods.low_rank_product import LowRankProduct
from harness import attach, make_method, slow, steps, tensors


def adapted(model: Family) -> list[Any]:
    return [layer for layer in model.components()["unet"].modules() if isinstance(layer, Linear)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often it was computed as one operation."""
    calls = [0]
    apply = LowRankProduct.apply

    def counting(*args: Any) -> Tensor:
        calls[0] += 1
        return apply(*args)

    monkeypatch.setattr(LowRankProduct, "apply", counting)
    return calls


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 12)])
def test_output_and_gradients_are_autograds_own(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 8, bias=bias).double().requires_grad_(False)
    x, down, up = (torch.randn(*s, dtype=torch.double, requires_grad=True) for s in (shape, (3, 12), (8, 3)))
    plain = layer(x) + 0.7 * (x @ down.t() @ up.t())
    assert torch.allclose(LowRankProduct.apply(x, layer, down, up, 0.7), plain, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda *t: LowRankProduct.apply(t[0], layer, *t[1:], 0.7), (x, down, up))


@pytest.mark.parametrize("name", ["lora", slow("rslora"), "locon", slow("ti_lora")])
def test_a_training_goes_the_same_way(
    toy: Family, name: str, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make_method(name)
    together = steps(toy, attach(toy, method.plan()[0]), 0, 3)
    assert counted[0] >= 3 * len(adapted(toy)) > 0
    method.detach(toy)
    monkeypatch.setattr(low_rank_product, "_is_plain", lambda *_: False)
    apart = steps(toy, attach(toy, method.plan()[0]), 0, 3)
    assert [s.loss for s in together] == pytest.approx([s.loss for s in apart], rel=1e-6)
    assert [s.gradient_norm for s in together] == pytest.approx([s.gradient_norm for s in apart], rel=1e-4)


@pytest.mark.parametrize(("name", "settings"), [("lora", {"dropout": 0.2}), ("dora", {})])
def test_what_is_not_plain_is_left_to_peft(
    toy: Family, counted: list[int], name: str, settings: dict[str, Any]
) -> None:
    steps(toy, attach(toy, make_method(name, **settings).plan()[0]), 0, 1)
    assert counted[0] == 0


def test_drawing_mixed_precision_and_a_second_adapter_are_left_to_peft(toy: Family, counted: list[int]) -> None:
    method = make_method("lora")
    attach(toy, method.plan()[0])
    layer = adapted(toy)[0]
    x = torch.randn(2, 3, layer.in_features, requires_grad=True)
    with torch.no_grad():
        assert torch.equal(layer(x), Linear.forward(layer, x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), Linear.forward(layer, x))
    assert counted[0] == 0
    layer(x)
    assert counted[0] == 1
    second = make_method("rslora")
    second.attach(toy, 1)
    layer(x)
    assert counted[0] == 1
    second.detach(toy)
    assert "forward" not in vars(layer)
    method.detach(toy)
    assert not adapted(toy)


def test_the_base_is_left_as_it_was(toy: Family) -> None:
    before = {name: t.clone() for name, t in tensors(toy).items()}
    method = make_method("lora")
    steps(toy, attach(toy, method.plan()[0]), 0, 2)
    method.detach(toy)
    assert all(torch.equal(t, before[name]) for name, t in tensors(toy).items())
    assert all("forward" not in vars(m) for m in toy.components()["unet"].modules())
