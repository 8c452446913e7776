"""ControlNet against the paper's equations and diffusers' own pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from booth.core.batch import Batch
from booth.core.errors import BadDataError
from booth.core.family import Condition, Family
from booth.core.rng import Rng
from booth.core.sites import PlacedControl
from booth.generate.draw import draw
from booth.methods.controlnet import ControlNet
from booth.train.loop import losses
from harness import attach, computing_as_we_do, deal, make_method, shaken, train, write

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
T = torch.tensor([20, 700])
HINTS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
PROMPTS = ["a photo of sks dog", "a cat on the beach"]


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def placed(model: Family) -> PlacedControl:
    assert model.sites.control is not None
    return model.sites.control.placed["controlnet"]


@torch.no_grad()
def predict(model: Family, hints: torch.Tensor | None) -> torch.Tensor:
    return model.predict(X, T, model.embed(PROMPTS, hints))


def test_step_0_is_the_base_bit_for_bit(toy: Family) -> None:
    base, drawn = predict(toy, None), draw(toy, PROMPTS, [0, 1], steps=2)
    attach(toy, make_method("controlnet").plan()[0])
    assert torch.equal(predict(toy, HINTS), base)
    hints = [[picture(0), picture(1)]]
    assert [d.tobytes() for d in draw(toy, PROMPTS, [0, 1], steps=2, control_images=hints)] == [
        d.tobytes() for d in drawn
    ]


def test_it_starts_as_a_copy_with_zero_convolutions(toy: Family) -> None:
    attach(toy, make_method("controlnet").plan()[0])
    unet, net = toy.components()["unet"], placed(toy).net
    for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
        theirs, ours = getattr(unet, name).state_dict(), getattr(net, name).state_dict()
        assert all(torch.equal(ours[key], value) and ours[key] is not value for key, value in theirs.items())
    # one a skip connection of the base: the first convolution, a block and a downsampler, a block; and the middle
    zeros = [*net.controlnet_down_blocks, net.controlnet_mid_block]
    assert [z.kernel_size for z in zeros] == [(1, 1)] * 5
    last = net.controlnet_cond_embedding.conv_out
    assert not any(p.any() for z in [*zeros, last] for p in z.parameters())


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_a_hint_is_brought_to_the_latents_grid_whatever_the_autoencoder(
    toy: Family, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    monkeypatch.setattr(type(toy), "vae_factor", factor)
    assert toy.sites.control is not None
    net: Any = toy.sites.control.copy(True)
    assert net.controlnet_cond_embedding(torch.zeros(1, 3, 4 * factor, 4 * factor)).shape[2:] == (4, 4)


def test_without_the_middles_attention_all_else_is_the_same_copy(toy: Family, tmp_path: Path) -> None:
    base = predict(toy, None)
    attach(toy, method := make_method("controlnet", middle_attention=False).plan()[0])
    net, whole = placed(toy).net.state_dict(), toy.sites.control.copy(True).state_dict()  # type: ignore[union-attr]
    left_out = {n for n in whole if n not in net}
    assert left_out == {n for n in whole if n.startswith(("mid_block.attentions", "mid_block.resnets.1"))}
    assert all(torch.equal(net[n], whole[n]) for n in net if n.startswith(("down_blocks", "mid_block", "conv_in")))
    assert torch.equal(predict(toy, HINTS), base)
    method.method.write(toy, tmp_path)
    assert ControlNetModel.from_pretrained(tmp_path / "controlnet").config["mid_block_type"] == "UNetMidBlock2D"


def test_one_without_attention_is_taken_as_published_small_ones_are(toy: Family, tmp_path: Path) -> None:
    assert toy.sites.control is not None
    whole: Any = toy.sites.control.copy(False)
    levels = ["DownBlock2D"] * len(whole.config.down_block_types)
    small: Any = ControlNetModel.from_config({**whole.config, "down_block_types": levels}).eval()
    small.load_state_dict({name: whole.state_dict()[name] for name in small.state_dict()})
    shaken(small, 3)
    small.save_pretrained(tmp_path / "controlnet", safe_serialization=True)
    make_method("controlnet").restore(toy, tmp_path)
    condition = toy.embed(PROMPTS, HINTS)
    with torch.no_grad():
        skips, middle = small(X, T, condition.tokens, controlnet_cond=HINTS, return_dict=False)
        unet: Any = toy.components()["unet"]
        told = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
        expected = unet(X, T, condition.tokens, **told).sample
    assert torch.allclose(predict(toy, HINTS), expected, atol=1e-6)
    assert not torch.allclose(predict(toy, None), expected, atol=1e-3)


def test_it_goes_on_from_another(toy: Family, tmp_path: Path) -> None:
    stage = make_method("controlnet").plan()[0]
    attach(toy, stage)
    shaken(placed(toy).net, 3)
    said = predict(toy, HINTS)
    stage.method.write(toy, tmp_path)
    stage.method.detach(toy)
    again = make_method("controlnet").plan()[0]
    again.method.take_form(tmp_path / "controlnet")
    attach(toy, again)
    assert torch.equal(predict(toy, HINTS), said)
    assert all(p.requires_grad for p in placed(toy).net.parameters())
    again.method.write(toy, tmp_path / "again")
    again.method.detach(toy)
    assert "_name_or_path" not in json.loads((tmp_path / "again" / "controlnet" / "config.json").read_text())


def test_the_gradient_reaches_the_zero_convolutions_first_and_then_the_copy(toy: Family) -> None:
    update = attach(toy, make_method("controlnet", weight_decay=0.0).plan()[0])
    moved: list[set[str]] = []
    for index in range(3):
        update.backward(losses(toy, deal(Rng(0)), Rng(0, index)))
        grads = {n.removeprefix("controlnet."): p.grad for n, p in update.parameters().items()}
        moved.append({n for n, g in grads.items() if g is not None and bool(g.any())})
        update.step(index, update.gradient_norm())
        update.clear()
    zero = {n for n in moved[2] if n.startswith(("controlnet_down_blocks", "controlnet_mid_block"))}
    encoder = {n for n in moved[2] if n.startswith("controlnet_cond_embedding") and "conv_out" not in n}
    assert moved[0] == zero
    assert moved[1] == moved[2] - encoder
    assert moved[2] == {n.removeprefix("controlnet.") for n in update.parameters()}


def test_prediction_adds_what_the_networks_say_to_the_skips(toy: Family) -> None:
    site, unet = toy.sites.control, toy.components()["unet"]
    assert site is not None
    nets = [shaken(site.copy(True), seed) for seed in (0, 1)]
    for i, (net, scale) in enumerate(zip(nets, (0.5, 2.0))):
        site.placed[f"controlnet_{i}"] = PlacedControl(net, "canny", scale)
    tokens = toy.embed(PROMPTS).tokens
    with torch.no_grad():
        (a_down, a_middle), (b_down, b_middle) = (net(X, T, tokens, HINTS, return_dict=False) for net in nets)
        down = [0.5 * a + 2 * b for a, b in zip(a_down, b_down)]
        middle = 0.5 * a_middle + 2 * b_middle
        added = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        expected = unet(X, T, encoder_hidden_states=tokens, **added).sample
    assert torch.equal(predict(toy, HINTS), expected)
    assert not torch.equal(expected, predict(toy, None))


def test_half_the_networks_input_is_the_hint(toy: Family) -> None:
    """After training, another hint means another prediction, and no hint means the base."""
    base = predict(toy, None)
    train(toy, make_method("controlnet", learning_rate=1e-2), 4)
    assert torch.equal(predict(toy, None), base)
    assert not torch.equal(predict(toy, HINTS), predict(toy, 1 - HINTS))


def test_a_strength_is_the_conditioning_scale(toy: Family) -> None:
    base, method = predict(toy, None), make_method("controlnet", learning_rate=1e-2)
    train(toy, method, 3)
    method.set_strength(0)
    assert torch.equal(predict(toy, HINTS), base)


@pytest.mark.parametrize("count", [1, 2])
def test_drawing_equals_diffusers_own_pipeline(toy: Family, toy_base: Path, tmp_path: Path, count: int) -> None:
    nets, strengths = [], [0.7, 1.3][:count]
    for i, strength in enumerate(strengths):
        method = make_method("controlnet")
        attach(toy, method.plan()[0])
        assert isinstance(method, ControlNet)
        shaken(list(toy.sites.control.placed.values())[-1].net, i)  # type: ignore[union-attr]
        folder = write(toy, method, tmp_path / str(i))
        method.set_strength(strength)
        nets.append(ControlNetModel.from_pretrained(folder / "controlnet"))
    hints = [[picture(10 * i), picture(10 * i + 1)] for i in range(count)]
    ours = draw(toy, PROMPTS, [3, 4], steps=3, guidance=4.0, negative="cat", control_images=hints, batch_size=2)

    pipe = StableDiffusionControlNetPipeline.from_pretrained(toy_base, controlnet=nets if count > 1 else nets[0])
    pipe.set_progress_bar_config(disable=True)
    with computing_as_we_do(pipe):
        theirs = pipe(
            PROMPTS,
            image=hints if count > 2 else hints[0] if count == 1 else [list(pair) for pair in zip(*hints)],
            negative_prompt=["cat", "cat"],
            num_inference_steps=3,
            guidance_scale=4.0,
            controlnet_conditioning_scale=strengths if count > 1 else strengths[0],
            generator=[torch.Generator().manual_seed(s) for s in (3, 4)],
        ).images
    assert [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]
    assert (
        ours[0].tobytes()
        != draw(toy, PROMPTS[:1], [3], steps=3, control_images=[h[:1][::-1] for h in hints[::-1]])[0].tobytes()
    )


def test_the_base_computes_no_gradient_of_its_encoder(toy: Family) -> None:
    attach(toy, make_method("controlnet").plan()[0])
    batch = Batch(PROMPTS, X, torch.full((2,), 0.5), HINTS)
    losses(toy, batch, Rng(0)).backward()
    assert all(p.grad is None for p in toy.components()["unet"].parameters())


def test_one_for_another_base_is_refused(toy: Family, tmp_path: Path) -> None:
    other = ControlNetModel.from_config({**toy.sites.control.copy(True).config, "cross_attention_dim": 16})  # type: ignore[union-attr]
    other.save_pretrained(tmp_path / "controlnet")
    with pytest.raises(BadDataError, match="made for another base: its cross_attention_dim is 16, here it is 32"):
        make_method("controlnet").restore(toy, tmp_path)
    with pytest.raises(BadDataError, match="holds no ControlNet"):
        make_method("controlnet").restore(toy, tmp_path / "none")
    assert toy.sites.control is not None
    assert not toy.sites.control.placed


def test_a_condition_takes_the_hint_along_with_remembered_prompts(toy: Family) -> None:
    toy.remember_embeddings(True)
    conditions: list[Condition] = [toy.embed(PROMPTS, HINTS), toy.embed(PROMPTS)]
    assert conditions[0].control_image is HINTS
    assert conditions[1].control_image is None
