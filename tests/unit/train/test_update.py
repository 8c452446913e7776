"""Step 5: clipping, averaging, constraining, and a state that can be written down and taken up."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from booth.core.method import MethodConfig, ParameterGroup
from booth.train.update import Update


def make(**settings: Any) -> Update:
    torch.manual_seed(0)
    first = ParameterGroup("a", {"a.w": nn.Parameter(torch.randn(4, 3)), "a.b": nn.Parameter(torch.randn(3))}, 1e-2)
    second = ParameterGroup("b", {"b.w": nn.Parameter(torch.randn(5))}, 1e-3, 0.1)
    return Update([first, second], MethodConfig(**({"steps": 20} | settings)))


def take_step(update: Update, index: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(100 + index)
    targets = [torch.randn(p.shape, generator=generator) for p in update.parameters().values()]
    loss = torch.stack([(p - t).pow(2).sum() for p, t in zip(update.parameters().values(), targets)]).sum()
    update.backward(loss * scale)
    update.step(index, update.gradient_norm())
    update.clear()


def snapshot(update: Update) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in update.state()[0].items()}


@pytest.mark.parametrize(
    "settings",
    [{}, {"ema": 0.9, "schedule": "cosine", "warmup": 3}, {"optimizer": "prodigy", "ema": 0.9, "schedule": "linear"}],
)
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_state_through_safetensors_and_json_goes_on_bit_for_bit(settings: dict[str, Any], after: int) -> None:
    straight, other = make(**settings), make(**settings)
    for index in range(after):
        take_step(straight, index)
    tensors, values = straight.state()
    other.load_state({n: t.clone() for n, t in tensors.items()}, json.loads(json.dumps(values)))
    for index in range(after, after + 3):
        take_step(straight, index)
        take_step(other, index)
    assert snapshot(straight).keys() == snapshot(other).keys()
    for name, tensor in snapshot(straight).items():
        assert torch.equal(tensor, snapshot(other)[name]), name
    assert json.dumps(straight.state()[1]) == json.dumps(other.state()[1])


def test_a_state_taken_up_shares_no_memory_with_its_source() -> None:
    update = make(ema=0.9)
    take_step(update, 0)
    tensors = snapshot(update)
    kept = {n: t.clone() for n, t in tensors.items()}
    update.load_state(tensors, update.state()[1])
    take_step(update, 1)
    assert all(torch.equal(tensors[n], kept[n]) for n in kept)


def test_a_missing_tensor_is_an_error() -> None:
    update = make()
    tensors, values = update.state()
    del tensors["parameter.a.b"]
    with pytest.raises(KeyError, match=r"a\.b"):
        make().load_state(tensors, values)


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_gradients_are_clipped_as_torch_clips_them(optimizer: str) -> None:
    """Some of the gradients are above the norm and some within, since Adam alone does not see a common factor."""
    update, by_hand = (make(clip=0.5, optimizer=optimizer) for _ in range(2))
    for index, size in enumerate([3.0, 0.01, 0.4, 0.1]):
        for ours, theirs in zip(update.parameters().values(), by_hand.parameters().values(), strict=True):
            ours.grad = torch.full_like(ours, size)
            theirs.grad = torch.full_like(theirs, size)
        norm = update.gradient_norm()
        assert norm == pytest.approx(size * 20**0.5)
        update.step(index, norm)
        nn.utils.clip_grad_norm_(by_hand.parameters().values(), 0.5)
        by_hand.optimizer.step()
    for ours, theirs in zip(update.parameters().values(), by_hand.parameters().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_half_the_rate_is_half_the_rate() -> None:
    update = make(schedule="linear")
    update.rate_scale = 0.5
    take_step(update, 10)
    assert [g["lr"] for g in update.optimizer.param_groups] == pytest.approx([1e-2 * 0.25, 1e-3 * 0.25])
    assert update.learning_rate == pytest.approx(1e-2 * 0.25)


def test_the_moving_average_follows_its_formula() -> None:
    update = make(ema=0.99)
    expected = update.parameters()["b.w"].detach().clone()
    for index in range(4):
        take_step(update, index)
        decay = min(0.99, (1 + index) / (10 + index))
        expected = decay * expected + (1 - decay) * update.parameters()["b.w"].detach()
    assert update.ema is not None
    torch.testing.assert_close(update.ema["b.w"], expected)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_averaged_weights_are_lent_not_given(ema: float | None) -> None:
    update = make(ema=ema)
    take_step(update, 0)
    before = {n: p.detach().clone() for n, p in update.parameters().items()}
    with update.averaged():
        wanted = before if update.ema is None else update.ema
        assert all(torch.equal(p, wanted[n]) for n, p in update.parameters().items())
        assert ema is None or not torch.equal(update.parameters()["a.w"], before["a.w"])
    assert all(torch.equal(p, before[n]) for n, p in update.parameters().items())


def test_a_constraint_holds_after_each_step_and_is_what_is_averaged() -> None:
    update = make(ema=0.5)
    row = update.parameters()["b.w"]

    def unit() -> None:
        with torch.no_grad():
            row.div_(row.norm())

    constrained = Update(update.groups, update.config, unit)
    take_step(constrained, 0)
    assert float(row.detach().norm()) == pytest.approx(1.0)
    assert constrained.ema is not None


def test_only_half_precision_has_a_loss_scale() -> None:
    update = make()
    assert update.loss_scale is None
    scaled = Update(update.groups, update.config, scaler=torch.amp.GradScaler("cpu", init_scale=8.0))
    assert scaled.loss_scale == 8.0
    take_step(scaled, 0)
    tensors, values = scaled.state()
    other = Update(make().groups, update.config, scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    other.load_state(tensors, json.loads(json.dumps(values)))
    assert other.loss_scale == scaled.loss_scale


def test_a_state_fits_parameters_laid_out_in_another_order() -> None:
    """Fused AdamW pairs elements by their place in memory, and states are kept in the plain order."""

    def convolution() -> tuple[nn.Parameter, Update]:
        weight = torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
        parameter = nn.Parameter(weight)
        return parameter, Update([ParameterGroup("c", {"w": parameter}, 1e-1)], MethodConfig(ema=0.9))

    target = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))

    def go(parameter: nn.Parameter, update: Update, index: int) -> None:
        update.backward((parameter - target).pow(3).sum())
        update.step(index, update.gradient_norm())
        update.clear()

    (a, straight), (b, resumed) = convolution(), convolution()
    go(a, straight, 0)
    tensors, values = straight.state()
    resumed.load_state(tensors, values)
    assert b.stride() == a.stride() != tensors["parameter.w"].stride()
    for index in (1, 2):
        go(a, straight, index)
        go(b, resumed, index)
    assert torch.equal(a, b)
    assert straight.ema is not None
    assert resumed.ema is not None
    assert torch.equal(straight.ema["w"], resumed.ema["w"])


def test_how_a_step_is_computed_is_not_taken_from_a_checkpoint() -> None:
    """One of a version that did not fuse goes on here, and is clipped as before."""
    straight, other = make(clip=0.1), make(clip=0.1)
    take_step(straight, 0)
    tensors, values = straight.state()
    for group in values["groups"]:
        group |= {"fused": None, "foreach": True, "capturable": True}
    other.load_state({n: t.clone() for n, t in tensors.items()}, values)
    assert all(group["fused"] and not group["capturable"] for group in other.optimizer.param_groups)
    for update in (straight, other):
        take_step(update, 1)
    assert all(torch.equal(t, snapshot(other)[n]) for n, t in snapshot(straight).items())


def test_nested_tensors_of_an_optimizer_are_kept_as_tensors() -> None:
    """As bitsandbytes nests what belongs to a quantised moment."""
    update, other = make(), make()
    take_step(update, 0)
    nested = {"absmax": torch.ones(2), "inner": {"code": torch.arange(3.0), "blocksize": 256}}
    for entry in update.optimizer.state.values():
        entry["__quantized__"] = nested
    tensors, values = update.state()
    assert torch.equal(tensors["optimizer.0.__quantized__/inner/code"], torch.arange(3.0))
    other.load_state({n: t.clone() for n, t in tensors.items()}, json.loads(json.dumps(values)))
    taken = [entry["__quantized__"] for entry in other.optimizer.state.values()]
    assert all(torch.equal(entry["inner"]["code"], torch.arange(3.0)) for entry in taken)
    assert all(torch.equal(entry["absmax"], torch.ones(2)) for entry in taken)
    assert all(entry["inner"]["blocksize"] == 256 for entry in taken)
