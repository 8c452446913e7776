"""What the denoiser's loss looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from booth.core.rng import Rng
from booth.world.denoiser import SUBJECT, WORN, Alignment, LatentPool, new_denoiser, subject_weights, upright_share
from booth.world.identity import Identity
from booth.world.render import Factors, Placement, render
from booth.world.sampling import with_room
from booth.world.vocabulary import ACCESSORIES, NOUNS


def test_places_within_a_subjects_reach_weigh_more_and_the_mean_stays() -> None:
    alone = Factors((Placement(Identity("dog", "dog"), x=32, y=32, size=32),), "beach")
    pair = Factors((alone.objects[0], Placement(Identity("cup", "cup"), x=96, y=96, size=32)), "beach")
    first, second = subject_weights([alone, pair]).astype(np.float32)
    assert first.shape == (1, 8, 8)
    assert abs(first.mean() - 1) < 1e-2
    assert abs(second.mean() - 1) < 1e-2
    assert abs(first[0, 1, 1] / first[0, 6, 6] - SUBJECT) < 1e-2
    assert second[0, 1, 1] == second[0, 6, 6] > second[0, 0, 7]


@pytest.mark.parametrize("accessory", ACCESSORIES)
def test_what_is_worn_weighs_most_wherever_it_stands(accessory: str) -> None:
    """Of the pixels that an accessory changes, few weigh as little as those of the animal, or of the scene."""
    for noun in ("dog", "cat", "bear", "frog"):
        for glyph, flip in ((NOUNS[noun].glyphs[0], False), (NOUNS[noun].glyphs[-1], True)):
            dressed = with_room(Placement(Identity(noun, glyph), accessory=accessory, x=64, y=70, size=64, flip=flip))
            with_it, without = (
                render(Factors((p,), "studio")).image.astype(int) for p in (dressed, replace(dressed, accessory=None))
            )
            changed = np.abs(with_it - without).max(-1) > 24
            weights = subject_weights([Factors((dressed,), "studio")])[0, 0].astype(np.float32)
            heaviest = np.kron(weights == weights.max(), np.ones((16, 16))) > 0
            assert abs(weights.max() / weights.min() - WORN) < 2e-2
            assert (changed & heaviest).sum() > 0.8 * changed.sum(), (glyph, flip)
            assert heaviest.mean() < 0.4, "and not everything does"


def pool_of(angles: list[float]) -> LatentPool:
    """Three of as many pictures a step, of a dog at each angle."""
    count, dog = len(angles), Identity("dog", "dog")
    pictures = [Factors((Placement(dog, angle=angle),), "beach") for angle in angles]
    latents, features = (
        torch.arange(count).float().reshape(-1, 1, 1, 1) * torch.ones(4, 8, 8),
        torch.randn(count, 112, 4, 4),
    )
    return LatentPool(latents, features, pictures, ["a"] * count, 1.0, 3, "cpu")


def test_steps_see_as_many_upright_things_as_is_asked_for() -> None:
    pool = pool_of([0.0, 3.0, 0.0, -2.0])
    for share, allowed in ((1.0, {0, 2}), (0.0, {1, 3})):
        pool.upright_share = share
        rows = [pool(Rng(0, step)).latents.mean((1, 2, 3)).round() for step in range(8)]
        assert {int(row) for row in torch.cat(rows)} == allowed
    assert upright_share(0.0) == 1.0 > upright_share(1.0) > 0.0


def test_the_denoisers_middle_is_led_to_the_features_of_the_pictures_that_it_sees() -> None:
    torch.manual_seed(0)
    unet = new_denoiser(4)
    pool = pool_of([0.0] * 6)
    batch = pool(Rng(0, 0))
    assert torch.equal(pool.shown, pool.features[Rng(0, 0).integers("pictures", 6, 3)])
    aligned = Alignment(unet, pool, 0.5)
    unet(batch.latents, torch.tensor([5, 500, 900]), torch.randn(3, 7, unet.config.cross_attention_dim))
    penalty = aligned.penalty()
    assert 0 < penalty < 1, "half of one minus a cosine"
    penalty.backward()
    moved = {n for n, p in unet.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(n.startswith("mid_block") for n in moved)
    assert not any(n.startswith(("up_blocks", "conv_out")) for n in moved), "what comes after the middle is not led"
    aligned.hook.remove()
