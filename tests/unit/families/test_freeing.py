"""Parts that are let go and come back as they were, and layers in fewer bits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bases import write_base
from booth.core.errors import NotAvailableError, UsageError
from booth.core.family import Family
from booth.families.loading import load_family
from booth.families.memory import parts_of
from booth.families.offload import offloaded
from booth.families.quantised import can_be_quantised, quantise
from harness import PROMPT, draw, make_method, steps, tensors
from harness import attach as attached


def held(model: Family, name: str) -> int:
    """Bytes that a part's weights take."""
    return sum(p.numel() * p.element_size() for p in model.components()[name].parameters() if not p.is_meta)


def test_what_is_let_go_takes_nothing_and_comes_back_to_the_bit(toy: Family) -> None:
    before = {name: t.clone() for name, t in tensors(toy).items()}
    words, picture = toy.embed([PROMPT]).tokens, draw(toy.pipeline())
    pixels = torch.zeros(1, 3, 32, 32)
    latents = toy.encode(pixels).mean
    toy.free(["vae", "text_encoder"])
    assert (held(toy, "vae"), held(toy, "text_encoder")) == (0, 0)
    assert held(toy, "unet") > 0
    assert torch.equal(toy.encode(pixels).mean, latents)
    toy.free(["vae", "text_encoder"])
    assert torch.equal(toy.embed([PROMPT]).tokens, words)
    toy.free(["vae", "text_encoder"])
    assert torch.equal(draw(toy.pipeline()), picture)
    assert toy.freed == set()
    toy.free(["vae", "text_encoder"])
    toy.recall(["vae"])
    assert toy.freed == {"text_encoder"}
    toy.recall()
    after = tensors(toy)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in toy.components()["text_encoder"].parameters())


def test_remembered_prompts_need_no_text_encoder(toy: Family) -> None:
    toy.remember_embeddings(True)
    assert toy.embed_ahead([PROMPT, ""])
    expected = toy.embed([PROMPT, ""]).tokens
    toy.free(["text_encoder"])
    assert torch.equal(toy.embed([PROMPT, ""]).tokens, expected)
    assert toy.freed == {"text_encoder"}
    toy.embed(["a cat"])
    assert toy.freed == set()
    toy.remember_embeddings(True, most=1)
    assert not toy.embed_ahead([PROMPT, ""])
    toy.remember_embeddings(False)
    assert not toy.embed_ahead([PROMPT])


def test_what_is_trained_or_was_changed_stays(toy: Family) -> None:
    encoder = toy.components()["text_encoder"]
    first = next(encoder.parameters())
    first.requires_grad_(True)
    toy.free(["text_encoder"])
    assert toy.freed == set()
    first.requires_grad_(False)
    method = make_method("textual_inversion")
    method.attach(toy, 0)
    for group in (method.moving(1.0),):
        for p in group.parameters.values():
            p.requires_grad_(False)
    toy.free(["text_encoder"])
    assert toy.freed == set(), "the token is not in the base's files"
    method.detach(toy)
    toy.free(["text_encoder"])
    assert toy.freed == {"text_encoder"}
    toy.recall()
    with torch.no_grad():
        next(encoder.parameters()).add_(1)
    toy.free(["text_encoder", "no such part"])
    assert toy.freed == set()


def test_tied_weights_come_back_tied(tmp_path: Path) -> None:
    model = load_family(str(write_base("flux", tmp_path / "base")))
    words = model.embed([PROMPT]).tokens
    encoder: Any = model.components()["text_encoder_2"]
    model.free(["text_encoder", "text_encoder_2"])
    model.recall()
    assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
    assert torch.equal(model.embed([PROMPT]).tokens, words)


class Rounded(nn.Linear):
    """A layer of fewer bits in plain words: as many levels as fit between the largest value and its opposite."""

    def __init__(self, inputs: int, outputs: int, bias: bool, *, levels: int = 127, **how: Any) -> None:
        super().__init__(inputs, outputs, bias)
        self.how, self.levels = how, levels

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight.abs().max() / self.levels
        return nn.functional.linear(x, (self.weight / scale).round() * scale, self.bias)


@contextmanager
def rounding() -> Iterator[None]:
    """A stand-in for bitsandbytes, whose names and arguments it has; peft is not to look at it."""
    package: Any = ModuleType("bitsandbytes")

    def parameter(data: Tensor, requires_grad: bool, **how: Any) -> nn.Parameter:
        return nn.Parameter(data, requires_grad)

    package.nn = SimpleNamespace(
        Linear4bit=lambda *sizes, **how: Rounded(*sizes, levels=7, **how),
        Linear8bitLt=Rounded,
        Params4bit=parameter,
        Int8Params=parameter,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bitsandbytes", package)
        yield


def packed(model: Family) -> Iterator[tuple[str, str, nn.Module]]:
    for part, module in model.components().items():
        yield from ((part, n, m) for n, m in module.named_modules() if isinstance(m, Rounded))


@pytest.mark.parametrize("family", ["stable_diffusion", "flux"])
@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_the_counted_layers_are_quantised_and_an_adapter_learns_over_them(
    family: str, precision: str, toy_base: Path, tmp_path: Path
) -> None:
    folder = toy_base if family == "stable_diffusion" else write_base(family, tmp_path / "base")
    with rounding():
        model = load_family(str(folder), dtype=torch.bfloat16, quantised=precision)
    found = list(packed(model))
    for part, counted in parts_of(folder).items():
        assert sum(m.weight.numel() for p, _, m in found if p == part) == counted.linear  # type: ignore[union-attr, misc]
    assert not any("embed" in name or ".wo" in name for _, name, _ in found)
    before = {name: t.clone() for name, t in tensors(model).items()}
    method = make_method("lora", batch_size=1)
    update = attached(model, method.plan()[0])
    if family == "stable_diffusion":
        assert all(step.updated and step.gradient_norm > 0 for step in steps(model, update, 0, 2))
        assert any(bool(p.any()) for n, p in update.parameters().items() if "lora_B" in n)
    method.detach(model)
    after = tensors(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    model.free(["text_encoder", "vae"])
    with rounding():
        model.recall()
    assert all(torch.equal(t, before[name]) for name, t in tensors(model).items())
    assert len(list(packed(model))) == len(found)


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_the_real_package_gives_nearly_the_same_answers_in_fewer_bytes(precision: str) -> None:
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 64)).bfloat16()
    x = torch.randn(5, 128, dtype=torch.bfloat16, requires_grad=True)
    expected = plain(x)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    small: Any = quantise(plain, precision, "cpu").train()  # on the CPU bitsandbytes passes gradients in this mode only
    answer = small(x)
    (gradient,) = torch.autograd.grad(answer.square().sum(), x)
    allowed = {"int8": 0.03, "nf4": 0.2}[precision]
    assert (answer - expected).norm() < allowed * expected.norm()
    assert (gradient - wanted).norm() < 2 * allowed * wanted.norm()
    assert not any(p.requires_grad for n, p in small.named_parameters() if n.endswith("weight"))
    share = {"int8": 1.0, "nf4": 0.5}[precision]
    assert sum(m.weight.numel() * m.weight.element_size() for m in (small[0], small[2])) == share * 128 * 384


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(NotAvailableError, match=r'nf4 needs bitsandbytes\. Run pip install "booth\[gpu\]"'):
        quantise(nn.Linear(2, 2), "nf4", "cpu")


def test_tables_timesteps_and_layers_that_overflow_are_spared() -> None:
    spared = ("time_embedding.linear_1", "encoder.block.0.layer.1.DenseReluDense.wo", "lm_head", "shared.weight")
    assert not any(map(can_be_quantised, spared))
    assert all(map(can_be_quantised, ("down_blocks.0.attn.to_q", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight")))


class Pipe:
    """Writes down what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def enable_model_cpu_offload(self, device: str) -> None:
        self.done.append(f"model on {device}")

    def enable_sequential_cpu_offload(self, device: str) -> None:
        self.done.append(f"sequential on {device}")

    def remove_all_hooks(self) -> None:
        self.done.append("removed")


@pytest.mark.parametrize(
    ("how", "device", "done"),
    [
        ("none", "cpu", ["drawn"]),
        ("model", "cuda", ["model on cuda", "drawn", "removed"]),
        ("sequential", "cuda:1", ["sequential on cuda:1", "drawn", "removed"]),
    ],
)
def test_parts_take_turns_while_drawing_only(how: str, device: str, done: list[str]) -> None:
    pipe = Pipe()
    with offloaded(pipe, how, device):
        pipe.done.append("drawn")
    assert pipe.done == done


def test_the_hooks_go_when_drawing_fails_too() -> None:
    pipe = Pipe()
    with pytest.raises(RuntimeError), offloaded(pipe, "model", "cuda"):
        raise RuntimeError
    assert pipe.done[-1] == "removed"
    for how, device, told in [("model", "cpu", "moves parts to a GPU"), ("some", "cuda", "no offload 'some'")]:
        with pytest.raises(UsageError, match=told), offloaded(pipe, how, device):
            pass
