"""Layers with packed weights: the plain ones' numbers, the same bits every time, and the base as it was after them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from booth.core import packing
from booth.core.family import Family
from booth.core.packing import (
    Packed,
    Remembering,
    can_pack,
    gradient_of_input,
    pack,
    packed,
    product,
    unpack,
)
from booth.generate.draw import draw
from booth.train.loop import Step
from booth.train.plan_state import PlanState
from harness import make_method, steps

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN packs nothing")

LAYERS = {
    "linear": (lambda: nn.Linear(12, 8), (2, 7, 12)),
    "linear without bias": (lambda: nn.Linear(12, 8, bias=False), (5, 12)),
    "3x3": (lambda: nn.Conv2d(6, 8, 3, padding=1), (2, 6, 8, 8)),
    "1x1": (lambda: nn.Conv2d(6, 8, 1), (2, 6, 4, 4)),
    "unpadded": (lambda: nn.Conv2d(6, 8, 3, bias=False), (2, 6, 8, 6)),
    "strided": (lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 8, 8)),
}


def stands_in(network: nn.Module) -> int:
    return sum("forward" in vars(layer) for layer in network.modules())


def output_and_gradient(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    output = layer(x)
    (gradient,) = torch.autograd.grad((output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum(), x)
    return output.detach(), gradient


@pytest.mark.parametrize("name", LAYERS)
def test_output_and_gradient_are_the_plain_layers(name: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make().requires_grad_(False)
    x = torch.randn(shape, requires_grad=True)
    plain = output_and_gradient(layer, x)
    layers = pack([layer])
    found, again = output_and_gradient(layer, x), output_and_gradient(layer, x)
    assert len(layers) == 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, plain, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    with torch.no_grad():
        assert torch.equal(layer(x), found[0])
    unpack(layers)
    assert all(torch.equal(a, b) for a, b in zip(output_and_gradient(layer, x), plain, strict=True))


@pytest.mark.parametrize("shape", [(5, 12), (3, 5, 12)])
def test_a_layer_inside_another_operation_is_packed_too(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x, of_output = nn.Linear(12, 8).requires_grad_(False), torch.randn(shape), torch.randn(*shape[:-1], 8)
    plain = product(layer, x), gradient_of_input(layer, of_output)
    assert torch.equal(plain[0], layer(x))
    pack([layer])
    found = product(layer, x), gradient_of_input(layer, of_output)
    with torch.no_grad():
        assert torch.equal(found[0], layer(x))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, plain, strict=True))


def test_what_is_trained_or_computes_otherwise_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(nn.Linear):
        pass

    trained, others = nn.Linear(4, 4), (Own(4, 4), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding="same"))
    mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    network = nn.ModuleList([trained, *(layer.requires_grad_(False) for layer in (*others, mirrored))])
    assert pack([network, nn.Linear(4, 4).double().requires_grad_(False)]) == []
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert pack([nn.Linear(4, 4).requires_grad_(False)]) == []


def test_a_layer_that_comes_to_be_trained_gives_its_weights_a_gradient() -> None:
    layer = nn.Linear(4, 4).requires_grad_(False)
    pack([layer])
    layer.requires_grad_(True)
    layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight.grad is not None


def test_under_autocast_a_layer_in_its_precision_is_packed_and_another_is_cast() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN multiplies no bfloat16 here")
    half, full = (nn.Linear(8, 8).to(dtype).requires_grad_(False) for dtype in (torch.bfloat16, torch.float32))
    x = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = half(x), full(x)
        pack([half, full])
        assert half(x).dtype == full(x).dtype == torch.bfloat16
        assert torch.allclose(half(x).float(), plain[0].float(), atol=0.02)
        assert torch.equal(full(x), plain[1])


@pytest.mark.parametrize("name", ["lora", "textual_inversion", "dreambooth"])
def test_a_training_goes_the_same_way_and_leaves_the_base_as_it_was(toy: Family, name: str, monkeypatch: Any) -> None:
    parts = [toy.components()["unet"], toy.components()["text_encoder"]]
    found: list[list[Step]] = []
    for quickly in (True, False, True):
        monkeypatch.setattr(packing, "can_pack", can_pack if quickly else lambda layer: False)
        state = PlanState(toy, make_method(name).plan(), 0)
        update = state.open()
        trained = {id(p) for p in update.parameters().values()}
        quick = [layer for part in parts for layer in part.modules() if "forward" in vars(layer)]
        packed_ones = [layer for layer in quick if isinstance(layer.forward, Packed)]
        assert bool(packed_ones) == quickly
        assert not any(id(layer.weight) in trained for layer in packed_ones)
        found.append(steps(toy, update, 0, 3))
        state.detach()
        assert sum(map(stands_in, parts)) == 0
    quick, plain, again = ([s.loss for s in each] for each in found)
    assert quick == pytest.approx(plain, rel=1e-5)
    assert quick == again


def test_a_picture_is_the_plain_ones_and_its_prompt_is_read_once(toy: Family, monkeypatch: Any) -> None:
    unet = toy.components()["unet"]
    computed: list[Any] = []
    compute = Packed.__call__

    def counting(self: Packed, x: Tensor) -> Tensor:
        computed.append(self.layer)
        return compute(self, x)

    monkeypatch.setattr(Packed, "__call__", counting)
    quick = draw(toy, ["a photo of a dog"], [3], steps=4)[0]
    keys = [m.to_k for name, m in unet.named_modules() if name.endswith("attn2")]
    queries = [m.to_q for name, m in unet.named_modules() if name.endswith("attn2")]
    assert keys
    assert all(sum(layer is key for layer in computed) == 1 for key in keys)
    assert all(sum(layer is query for layer in computed) == 4 for query in queries)
    assert stands_in(unet) == stands_in(toy.components()["vae"]) == 0
    monkeypatch.setattr(sys.modules[draw.__module__], "packed", lambda *_: packed([]))
    plain = draw(toy, ["a photo of a dog"], [3], steps=4)[0]
    assert np.abs(np.asarray(quick, int) - np.asarray(plain, int)).max() <= 1


def test_a_layer_remembers_what_it_made_of_the_last_tensor_alone() -> None:
    calls: list[Tensor] = []

    def compute(x: Tensor) -> Tensor:
        calls.append(x)
        return 2 * x

    layer = Remembering(compute)
    one, other = torch.ones(2), torch.zeros(2)
    with torch.no_grad():
        found = [layer(x) for x in (one, one, other, one)]
    assert len(calls) == 3
    assert all(torch.equal(y, 2 * x) for y, x in zip(found, (one, one, other, one), strict=True))
    for _ in range(2):
        layer(one)
    assert len(calls) == 5  # with gradients each is computed anew


def test_precision_and_place_are_found_without_a_look_at_every_module(toy: Family, monkeypatch: Any) -> None:
    unet: Any = toy.components()["unet"]
    for dtype in (torch.bfloat16, torch.float32):
        unet.to(dtype)
        assert toy.dtype == unet.dtype == dtype  # type: ignore[attr-defined]
        assert toy.device == unet.device  # type: ignore[attr-defined]
    monkeypatch.setattr(type(unet), "_keep_in_fp32_modules", ["conv_in"])
    unet.to(torch.bfloat16).conv_in.float()
    assert toy.dtype == unet.dtype == torch.bfloat16  # type: ignore[attr-defined]
    looked: list[nn.Module] = []
    modules = nn.Module.named_modules

    def counting(self: nn.Module, *args: Any, **options: Any) -> Any:
        for found in modules(self, *args, **options):
            looked.append(self)
            yield found

    monkeypatch.setattr(nn.Module, "named_modules", counting)
    assert (toy.dtype, toy.device) == (torch.bfloat16, torch.device("cpu"))  # type: ignore[attr-defined]
    assert len(looked) < 50  # of hundreds, for each property looks until it has found one tensor
