"""The autoencoder's precision and how it decodes large pictures; and where its convolutions' channels lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bases import write_base
from booth.families import layout
from booth.families.autoencoder import decoding_in_tiles, needs_float32
from booth.families.loading import load_family
from booth.generate import draw as drawing
from booth.generate.draw import draw
from harness import attach, make_method, steps, tensors, write

HALF = torch.float16
LARGEST = torch.finfo(HALF).max


@pytest.fixture
def xl(tmp_path: Path) -> Path:
    """An XL whose decoder overflows in fp16, as the published one does."""
    base = write_base("stable_diffusion_xl", tmp_path / "xl")
    model: Any = load_family(str(base))
    with torch.no_grad():
        model.vae.decoder.conv_in.weight.mul_(1e7)
    model.vae.save_pretrained(base / "vae")
    return base


def set_upcast(base: Path, on: bool | None) -> None:
    """What the autoencoder's configuration says; None takes the word out."""
    file = base / "vae" / "config.json"
    config = json.loads(file.read_text()) | {"force_upcast": on}
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def test_in_half_precision_the_autoencoder_stays_in_float32_and_does_not_overflow(xl: Path) -> None:
    model: Any = load_family(str(xl), dtype=HALF)
    assert {p.dtype for p in model.network.parameters()} == {HALF}
    assert {p.dtype for p in model.vae.parameters()} == {torch.float32}
    seen: list[float] = []
    model.vae.decoder.conv_in.register_forward_hook(lambda *told: seen.append(float(told[2].abs().max())))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(HALF)
    decoded = model.vae.decode(latents, return_dict=False)[0]
    assert seen[0] > LARGEST, "else fp16 would have done"
    assert decoded.isfinite().all()


def test_a_pipeline_that_casts_it_does_not_change_it(xl: Path) -> None:
    model: Any = load_family(str(xl), dtype=HALF)
    before = {name: t.clone() for name, t in model.vae.state_dict().items()}
    assert model.vae.to(HALF) is model.vae.to(dtype=HALF) is model.vae.to("cpu", HALF) is model.vae
    after = model.vae.state_dict()
    assert all(after[n].dtype == t.dtype and torch.equal(after[n], t) for n, t in before.items())


@pytest.mark.parametrize(("said", "dtype"), [(True, torch.float32), (None, torch.float32), (False, HALF)])
def test_it_is_held_as_its_configuration_says(xl: Path, said: bool | None, dtype: torch.dtype) -> None:
    set_upcast(xl, said)
    model: Any = load_family(str(xl), dtype=HALF)
    assert {p.dtype for p in model.vae.parameters()} == {dtype}
    model.free(["vae"])
    assert model.vae.dtype == dtype, "read again it is held as before"


def test_one_that_has_no_such_word_is_held_as_the_rest() -> None:
    class Plain:
        def __init__(self, latent_channels: int = 4) -> None: ...

    assert not needs_float32(Plain, {"force_upcast": True})


def test_mixed_precision_does_not_reach_it(toy: Any) -> None:
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = toy.encode(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = toy.encode(pixels)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.std, expected.std)


def test_a_base_in_bf16_draws_about_the_same(toy: Any, toy_base: Path) -> None:
    half: Any = load_family(str(toy_base), dtype=torch.bfloat16)
    one, other = (draw(model, ["a dog"], [3], steps=2)[0] for model in (toy, half))
    difference = torch.tensor([a - b for a, b in zip(one.tobytes(), other.tobytes(), strict=True)]).float()
    assert 0 < difference.abs().mean() < 8


def test_large_pictures_are_decoded_in_tiles_on_a_gpu(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []
    decode = toy.vae.decode

    def watched(*args: Any, **options: Any) -> Any:
        used.append(toy.vae.use_tiling)
        return decode(*args, **options)

    monkeypatch.setattr(toy.vae, "decode", watched)
    side = toy.resolution
    draw(toy, ["a dog"], [0], steps=1, size=2 * side)
    monkeypatch.setattr(drawing, "_on_gpu", lambda *_: True)
    for size in (side, 2 * side, side):
        draw(toy, ["a dog"], [0], steps=1, size=size)
    assert used == [False, False, True, False]


def test_an_autoencoder_without_tiles_is_left_as_it_is() -> None:
    with decoding_in_tiles(nn.Identity(), large=True):
        pass


def strides(model: Any) -> set[bool]:
    """Whether the denoiser's 3x3 convolutions have the channels of a place beside each other."""
    layers = [m.weight for m in model.network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    wide = [weight for weight in layers if weight.shape[1] > 1]
    return {weight.is_contiguous(memory_format=torch.channels_last) for weight in wide}


@pytest.mark.parametrize("name", ["lora", "dreambooth"])
def test_channels_last_learns_and_writes_the_same(
    toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    losses: list[list[float]] = []
    for last in (False, True):
        monkeypatch.setattr(layout, "prefers_channels_last", lambda device, last=last: last)
        model = load_family(str(toy_base))
        assert strides(model) == {last}
        before = {n: t.clone() for n, t in tensors(model).items()}
        method = make_method(name)
        losses.append([step.loss for step in steps(model, attach(model, method.plan()[0]), 0, 3)])
        learned = {n: t.clone() for n, t in tensors(model).items()}
        folder = tmp_path / str(last)
        folder.mkdir()
        write(model, method, folder)
        method.plan()[0].method.detach(model)
        assert all(torch.equal(t, before[n]) for n, t in tensors(model).items())
        method.plan()[0].method.restore(model, folder)
        assert all(torch.equal(t, learned[n]) for n, t in tensors(model).items())
        method.plan()[0].method.detach(model)
        shutil.rmtree(folder)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
