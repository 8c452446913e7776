"""The set encoder computes the linear code, and the decoder learns to undo it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from booth.world.autoencoder import (
    CHANNELS,
    new_autoencoder,
    principal_components,
    psnr,
    set_linear_encoder,
    train_autoencoder,
)
from booth.world.fit import read_state
from booth.world.nothing import textures
from booth.world.pixels import to_bytes, to_unit


def pictures(count: int) -> np.ndarray:
    return textures(count, np.random.default_rng(0), 64)


def test_the_encoder_computes_the_principal_components() -> None:
    torch.manual_seed(0)
    x = to_unit(pictures(48))
    rows, offset = principal_components(x)
    vae = new_autoencoder()
    set_linear_encoder(vae, rows, offset)
    with torch.no_grad():
        posterior = vae.encode(x).latent_dist
    code = (F.unfold(x, 8, stride=8).transpose(1, 2) @ rows.T + offset).transpose(1, 2).reshape(-1, CHANNELS, 8, 8)
    assert (posterior.mean - code).abs().mean() < 0.04 * code.std()
    assert 0.8 < code.std() < 1.25, "latents have deviation 1 on the whole"
    assert posterior.std.allclose(torch.tensor(0.05), rtol=1e-3)


def test_the_code_keeps_what_principal_components_keep() -> None:
    x = to_unit(pictures(64))
    rows, _ = principal_components(x)
    patches = F.unfold(x, 8, stride=8).transpose(1, 2).reshape(-1, 192)
    centred = patches - patches.mean(0)
    ours = torch.linalg.qr(rows.T)[0]
    best = torch.linalg.svd(centred, full_matrices=False)[2][:CHANNELS].T  # an independent route to the same space
    kept = [(centred @ q).pow(2).sum() for q in (ours, best)]
    torch.testing.assert_close(kept[0], kept[1], rtol=1e-4, atol=0.0)


def test_the_decoder_learns_and_training_goes_on_where_it_stopped(tmp_path: Path, ticking_clock: None) -> None:
    data = pictures(64)
    torch.manual_seed(0)
    untrained = new_autoencoder()
    set_linear_encoder(untrained, *principal_components(to_unit(np.concatenate([data, data]))))
    before = psnr(untrained, data[:16])
    train_autoencoder(data, data, minutes=0.1, out=tmp_path, batch=4)
    first = read_state(tmp_path / "autoencoder.safetensors")[1]
    vae = train_autoencoder(data, data, minutes=0.2, out=tmp_path, batch=4)
    second = read_state(tmp_path / "autoencoder.safetensors")[1]
    assert second["step"] > first["step"] > 0
    assert psnr(vae, data[:16]) > before
    assert not any(p.requires_grad for p in vae.encoder.parameters())


def test_bytes_and_unit_are_inverse() -> None:
    data = pictures(2)
    assert np.array_equal(to_bytes(to_unit(data)), data)
