"""The set encoder computes a linear code, the decoder begins smooth, both learn, and what is kept is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from booth.world.autoencoder import CHANNELS, SIDE, new_autoencoder, reduction
from booth.world.autoencoder_training import sharpen_decoder, train_autoencoder
from booth.world.fit import read_state
from booth.world.linear_code import set_linear_encoder, set_smooth_decoder
from booth.world.nothing import textures
from booth.world.perceptual import WIDTHS, Critic
from booth.world.pixels import reduced, to_bytes, to_unit
from booth.world.reconstruction import edge_f1, edge_strength, psnr, reconstruct, strong_edges_kept


def pictures(count: int, side: int = SIDE) -> np.ndarray:
    return textures(count, np.random.default_rng(0), side)


@pytest.mark.parametrize(
    ("widths", "side", "channels"), [((24, 48, 96, 128, 192), 128, 32), ((48, 96, 128, 192), 64, 16)]
)
def test_the_encoder_computes_a_linear_code_that_keeps_what_principal_components_keep(widths, side, channels) -> None:
    torch.manual_seed(0)
    x = to_unit(pictures(16, side))
    vae = new_autoencoder(channels, widths, side)
    set_linear_encoder(vae, x)
    patch = reduction(vae)
    assert patch == 2 ** (len(widths) - 1)
    with torch.no_grad():
        posterior = vae.encode(x).latent_dist
    assert 0.7 < posterior.mean.std() < 1.4, "latents have deviation 1 on the whole"
    assert posterior.std.allclose(torch.tensor(0.05), rtol=1e-3)
    # What a linear map of the latents gives back is nearly what as many principal components of the patches do.
    patches = F.unfold(x, patch, stride=patch).transpose(1, 2).reshape(-1, 3 * patch**2)
    latents = posterior.mean.permute(0, 2, 3, 1).reshape(-1, channels)
    given = torch.cat([latents, torch.ones(len(latents), 1)], 1)
    left = (given @ torch.linalg.lstsq(given, patches).solution - patches).pow(2).sum()
    values = torch.linalg.svdvals(patches - patches.mean(0)).pow(2)
    assert left < 1.25 * values[channels:].sum() + 1e-3 * values.sum()


def test_the_decoder_begins_as_a_smooth_enlargement() -> None:
    torch.manual_seed(0)
    x = to_unit(pictures(8))
    vae = new_autoencoder()
    set_linear_encoder(vae, x)
    set_smooth_decoder(vae, x)
    with torch.no_grad():
        y = vae.decode(vae.encode(x).latent_dist.mean).sample
    smooth = F.interpolate(F.avg_pool2d(x, 16), scale_factor=16, mode="bilinear")
    inside = (slice(None), slice(None), slice(40, 88), slice(40, 88))  # zeros beyond the edges dim what is near them
    assert (y - smooth)[inside].pow(2).mean() < 0.3 * (x - smooth)[inside].pow(2).mean()


@pytest.mark.essential
def test_both_halves_learn_and_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    data = [pictures(16, 64), pictures(8, 64)[::-1]]
    torch.manual_seed(0)
    vae = new_autoencoder(8, (24, 48, 96, 128), 64)
    train_autoencoder(vae, data, steps=10, out=tmp_path)
    assert read_state(tmp_path / "autoencoder-decoder.safetensors")[1]["step"] == 2
    assert read_state(tmp_path / "autoencoder.safetensors")[1]["step"] == 8
    begun = {n: p.clone() for n, p in new_autoencoder(8, (24, 48, 96, 128), 64).named_parameters()}
    again = new_autoencoder(8, (24, 48, 96, 128), 64)
    train_autoencoder(again, data, steps=10, out=tmp_path)
    for name, parameter in vae.named_parameters():
        assert torch.equal(parameter, dict(again.named_parameters())[name]), "a finished training returns at once"
        assert not torch.equal(parameter, begun[name]) or not begun[name].abs().sum()


def test_a_critic_sharpens_the_decoder_alone_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    data = [pictures(16, 64), pictures(8, 64)[::-1]]

    def begin() -> AutoencoderKL:
        torch.manual_seed(0)
        return new_autoencoder(8, (24, 48, 96, 128), 64)

    vae = sharpen_decoder(begin(), data, steps=4, out=tmp_path / "at once")
    sharpen_decoder(begin(), data, steps=2, out=tmp_path / "in two")
    again = sharpen_decoder(begin(), data, steps=4, out=tmp_path / "in two")
    before = dict(begin().named_parameters())
    for name, parameter in vae.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("encoder."), name
        assert parameter.requires_grad
    tensors, values = read_state(tmp_path / "at once" / "sharpened.safetensors")
    assert values["step"] == read_state(tmp_path / "in two" / "sharpened.safetensors")[1]["step"] == 4
    assert all(tensors[f"exp_avg_sq.{n}"].any() for n in ("critic.heads.0.0.bias", "critic.heads.3.2.bias"))
    assert again.decoder.conv_out.weight.shape == vae.decoder.conv_out.weight.shape


def test_decoder_and_critic_pull_against_each_other() -> None:
    """Each takes the gradient of its own loss and none of the other's."""
    torch.manual_seed(0)
    critic = Critic()
    real, fake = ([torch.randn(2, c, 4, 4, requires_grad=True) for c in WIDTHS] for _ in range(2))
    critic.doubt(fake).backward()
    assert all(x.grad is not None and x.grad.any() for x in fake)
    assert all(p.grad is None for p in critic.parameters())
    for x in fake:
        x.grad = None
    critic.loss(real, fake).backward()
    assert all(x.grad is None for x in (*real, *fake))
    assert all(p.grad is not None for p in critic.parameters())


def test_what_is_kept_of_a_picture() -> None:
    sharp = pictures(4)
    soft = np.asarray(reduced(sharp, 32)).repeat(4, 1).repeat(4, 2)
    assert (psnr(sharp, sharp) > 60).all()
    assert psnr(sharp, np.clip(sharp.astype(int) + 8, 0, 255).astype(np.uint8)).mean() == pytest.approx(30.1, abs=1.0)
    assert strong_edges_kept(sharp, sharp) == pytest.approx(np.ones(4))
    grey = np.full_like(sharp, 128)
    assert strong_edges_kept(sharp, grey) == pytest.approx(np.zeros(4))
    assert (edge_strength(grey) == 0).all()
    assert (edge_f1(sharp, sharp) == 1).all()
    assert edge_f1(sharp, soft).min() < 0.9
    assert (edge_f1(grey, grey) == 1).all()


def test_an_autoencoder_is_judged_by_what_it_gives_back() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder().eval()
    data = pictures(3)
    given = reconstruct(vae, data, batch=2)
    assert given.shape == data.shape
    assert given.dtype == np.uint8
    assert vae.config.latent_channels == CHANNELS


def test_bytes_and_unit_are_inverse() -> None:
    data = pictures(2)
    assert np.array_equal(to_bytes(to_unit(data)), data)


def test_reducing_takes_the_mean_of_squares() -> None:
    data = pictures(2)
    assert np.array_equal(reduced(data, SIDE), data)
    small = reduced(data, 64)
    assert small.shape == (2, 64, 64, 3)
    assert small[1, 3, 5, 2] == np.rint(data[1, 6:8, 10:12, 2].astype(float).mean())
