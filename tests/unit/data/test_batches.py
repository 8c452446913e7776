"""Batches: every photo equally often, fresh latents, the right prompts and weights, and nothing to remember."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import picture
from PIL import Image, ImageOps

from booth.core.batch import Batch
from booth.core.family import Family, Posterior
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, Preprocessing, TrainingSubject
from booth.data.captions import shuffled_tags, with_subject
from booth.data.latents import LatentBucket, LatentCache
from booth.data.photos import Photo, PhotoSet
from booth.train.loop import compare

SUBJECT = Subject("sks", "dog")


def photo_set(count: int = 4, size: tuple[int, int] = (48, 40), **changed: Any) -> PhotoSet:
    photos = (Photo(Path(f"{i}.png"), f"{i:064}", picture(i, size), **changed) for i in range(count))
    return PhotoSet(tuple(photos), "a test")


def batches_of(model: Family, photos: PhotoSet | None = None, **changed: Any) -> PhotoBatches:
    how = Preprocessing(**{key: changed.pop(key) for key in list(changed) if key in Preprocessing.__dataclass_fields__})
    prompts, images = changed.pop("prompts", ["a photo of sks dog"]), changed.pop("class_images", [])
    lesson = TrainingSubject(SUBJECT, photos or photo_set(), prompts, "a photo of a dog", images)
    return PhotoBatches(model, [lesson], **({"batch_size": 2, "preprocessing": how} | changed))


def only_bucket(cache: LatentCache | None) -> LatentBucket:
    """The one bucket of squares."""
    assert cache is not None
    (bucket,) = cache.buckets.values()
    return bucket


def means(batches: PhotoBatches) -> list[torch.Tensor]:
    return [mean for p in only_bucket(batches._encoded[0].photos).pictures for mean in p.mean]


def same(a: Batch, b: Batch) -> bool:
    return a.prompts == b.prompts and torch.equal(a.latents, b.latents) and torch.equal(a.weight, b.weight)


def encode(model: Family, image: Image.Image) -> torch.Tensor:
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, *image.size, 3)
    return model.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).mean[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
def test_every_epoch_deals_every_photo_once_in_an_order_of_its_own(photos: int, batch: int, seed: int) -> None:
    bucket = LatentBucket("photos", [], list(range(photos)))
    dealt = [i for step in range(photos * 6) for i in bucket.sample(Rng(seed, step), step * batch, batch)]
    epochs = [dealt[i : i + photos] for i in range(0, len(dealt) - photos + 1, photos)]
    assert all(sorted(epoch) == list(range(photos)) for epoch in epochs)
    if photos >= 5:
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_repeats_are_honoured(toy: Family) -> None:
    photos = (Photo(Path(c), c, picture(i), c, repeats) for i, (c, repeats) in enumerate([("a", 2), ("b", 3)]))
    batches = batches_of(toy, PhotoSet(tuple(photos), "a test"), batch_size=50)
    assert Counter(batches(Rng(0)).prompts) == {"sks dog, a": 20, "sks dog, b": 30}


def test_the_same_rng_deals_the_same_batch_and_another_does_not(toy: Family) -> None:
    first, second = batches_of(toy), batches_of(toy)
    list(map(first, [Rng(0, 0), Rng(0, 1)]))  # what was dealt before leaves no trace
    assert same(first(Rng(0, 7, 1)), second(Rng(0, 7, 1)))
    for other in (Rng(0, 8, 1), Rng(1, 7, 1)):
        assert not torch.equal(first(other).latents, first(Rng(0, 7, 1)).latents)


def test_accumulated_micro_batches_deal_on_through_the_epoch(toy: Family) -> None:
    photos = PhotoSet(tuple(Photo(Path(c), c, picture(i), c) for i, c in enumerate("abcd")), "a test")
    batches = batches_of(toy, photos, batch_size=1, accumulate=4)
    assert sorted(batches(Rng(0, 5, m)).prompts[0] for m in range(4)) == [f"sks dog, {c}" for c in "abcd"]


def test_latents_are_fresh_draws_from_the_cached_posterior(toy: Family) -> None:
    batches = batches_of(toy, photo_set(1), batch_size=1)
    posterior = only_bucket(batches._encoded[0].photos).pictures[0]
    assert posterior.mean.dtype == torch.float32
    draws = torch.cat([batches(Rng(0, step)).latents for step in range(300)])
    assert not torch.equal(draws[0], draws[1])
    z = (draws - posterior.mean) / posterior.std
    assert abs(z.mean().item()) < 0.02
    assert abs(z.std().item() - 1) < 0.02


def test_the_autoencoder_runs_only_before_the_first_step(toy: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = batches_of(toy, flip=True, class_images=[picture(9)], prior_weight=1.0)

    def never(pixels: torch.Tensor) -> Posterior:
        raise AssertionError("encoded during a step")

    monkeypatch.setattr(toy, "encode", never)
    batches(Rng(0))


def test_a_square_photo_is_encoded_as_the_family_does(toy: Family) -> None:
    photos = photo_set(2, (32, 32))
    for cached, photo in zip(means(batches_of(toy, photos)), photos.photos, strict=True):
        assert torch.allclose(cached, encode(toy, photo.image), atol=1e-5)


def test_flips_and_random_crops_are_variants(toy: Family) -> None:
    square = photo_set(1, (32, 32))
    upright, mirrored = means(batches_of(toy, square, flip=True))
    assert torch.allclose(upright, encode(toy, square.photos[0].image), atol=1e-5)
    assert torch.allclose(mirrored, encode(toy, ImageOps.mirror(square.photos[0].image)), atol=1e-5)
    wide = photo_set(1, (320, 32))
    assert [len(means(batches_of(toy, wide, crop=c))) for c in ("center", "subject", "random")] == [1, 1, 8]
    assert len(means(batches_of(toy, wide, crop="random", flip=True, variants=3))) == 6
    assert len(means(batches_of(toy, square, crop="random"))) == 1, "a square has but one largest square"
    crops = means(batches_of(toy, wide, crop="random"))
    assert len({c.numpy().tobytes() for c in crops}) > 4
    assert all(torch.equal(a, b) for a, b in zip(crops, means(batches_of(toy, wide, crop="random")), strict=True))


def test_every_variant_is_dealt(toy: Family) -> None:
    batches = batches_of(toy, photo_set(1, (320, 32)), crop="random", variants=4, batch_size=1)
    cached = torch.stack(means(batches))
    seen = Counter(int((batches(Rng(0, step)).latents - cached).flatten(1).norm(dim=1).argmin()) for step in range(120))
    assert len(seen) == 4
    assert min(seen.values()) > 10


def test_prior_rows_follow_the_photo_rows_with_separate_means(toy: Family) -> None:
    batches = batches_of(toy, batch_size=2, class_images=[picture(i) for i in (7, 8, 9)], prior_weight=0.5)
    batch = batches(Rng(0))
    assert batch.prompts == ["a photo of sks dog"] * 2 + ["a photo of a dog"] * 2
    assert batch.latents.shape == (4, 4, 8, 8)
    assert batch.weight.tolist() == [0.5, 0.5, 0.25, 0.25]
    error = torch.randn(4, 4, 8, 8)
    by_hand = error[:2].pow(2).mean() + 0.5 * error[2:].pow(2).mean()
    assert torch.allclose(compare(error, torch.zeros_like(error), batch.weight), by_hand)


def test_each_row_has_a_timestep_and_noise_of_its_own(toy: Family) -> None:
    batches = batches_of(toy, batch_size=4, class_images=[picture(9)], prior_weight=1.0)
    noised = toy.noising.sample(batches(Rng(0)).latents, Rng(0))
    assert len(set(noised.t.tolist())) == 8
    assert len({row.numpy().tobytes() for row in noised.target}) == 8


def test_class_pictures_come_equally_often_too(toy: Family) -> None:
    batches = batches_of(toy, class_images=[picture(i, (32, 32)) for i in (7, 8, 9)], prior_weight=1.0)
    cached = torch.cat([p.mean for p in only_bucket(batches._encoded[0].pictures).pictures])
    seen = Counter(
        int((latent - cached).flatten(1).norm(dim=1).argmin())
        for step in range(6)
        for latent in batches(Rng(0, step)).latents[2:]
    )
    assert seen == {0: 4, 1: 4, 2: 4}


def test_without_prior_preservation_there_are_no_class_rows(toy: Family) -> None:
    batch = batches_of(toy, class_images=[picture(9)], prior_weight=0.0)(Rng(0))
    assert len(batch.prompts) == 2
    assert batch.weight.sum() == 1
    with pytest.raises(ValueError, match="needs class pictures"):
        batches_of(toy, prior_weight=1.0)


def test_templates_take_turns_and_a_caption_replaces_them(toy: Family) -> None:
    templates = ["a photo of sks dog", "a cropped photo of sks dog", "my sks dog"]
    batches = batches_of(toy, prompts=templates)
    seen = Counter(p for step in range(30) for p in batches(Rng(0, step)).prompts)
    assert set(seen) == set(templates)
    captioned = batches_of(toy, photo_set(2, caption="sleeping on a sofa"), prompts=templates)
    assert captioned(Rng(0)).prompts == ["sks dog, sleeping on a sofa"] * 2


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("on a sofa", "sks dog, on a sofa"),
        ("a dog on a sofa", "sks dog, a dog on a sofa"),
        ("a photo of sks dog", "a photo of sks dog"),
        ("Sks, asleep", "Sks, asleep"),
        ("asks", "sks dog, asks"),
        ("sksy", "sks dog, sksy"),
    ],
)
def test_token_and_noun_are_put_in_front_of_a_caption_without_the_token(caption: str, expected: str) -> None:
    assert with_subject(caption, SUBJECT) == expected


def test_a_token_of_punctuation_is_found_as_it_is_written() -> None:
    assert with_subject("a <my-dog> asleep", Subject("<my-dog>", "dog")) == "a <my-dog> asleep"


def test_dropped_captions_are_empty_and_class_prompts_stay(toy: Family) -> None:
    batches = batches_of(toy, class_images=[picture(9)], prior_weight=1.0, caption_dropout=0.5)
    prompts = [batches(Rng(0, step)).prompts for step in range(100)]
    share = sum(p == "" for row in prompts for p in row[:2]) / 200
    assert 0.4 < share < 0.6
    assert all(row[2:] == ["a photo of a dog"] * 2 for row in prompts)


def test_latents_are_not_cached_while_the_autoencoder_is_trained(toy: Family) -> None:
    next(toy.components()["vae"].parameters()).requires_grad_(True)
    with pytest.raises(ValueError, match="autoencoder"):
        batches_of(toy)


def test_tags_are_shuffled_behind_those_that_stay_the_same_way_for_the_same_rng(toy: Family) -> None:
    caption = "sks dog, asleep, on a sofa,indoors"
    dealt = batches_of(toy, photo_set(1, caption=caption), shuffle_tags=True, keep_tags=2, batch_size=1)
    seen = [dealt(Rng(0, step)).prompts[0] for step in range(30)]
    assert set(seen) == {"sks dog, asleep, on a sofa, indoors", "sks dog, asleep, indoors, on a sofa"}
    assert seen == [dealt(Rng(0, step)).prompts[0] for step in range(30)]
    assert batches_of(toy, photo_set(1, caption=caption), batch_size=1)(Rng(0)).prompts == [caption]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=6), st.integers(0, 7), st.integers(0, 99))
def test_shuffling_loses_no_tag(tags: list[str], keep: int, seed: int) -> None:
    shuffled = shuffled_tags(", ".join(tags), keep, random.Random(seed)).split(", ")
    assert sorted(shuffled) == sorted(tags)
    assert shuffled[:keep] == tags[:keep]


def test_a_style_is_named_behind_the_caption() -> None:
    style = Subject("sks", "style", "style")
    assert with_subject("a dog on a sofa", style) == "a dog on a sofa, in sks style"
    assert with_subject("a sks dog", style) == "a sks dog"


def test_several_subjects_take_turns_with_prompts_and_class_rows_of_their_own(toy: Family) -> None:
    dog = TrainingSubject(SUBJECT, photo_set(5), ["a photo of sks dog"], "a photo of a dog", [picture(7)])
    cats = PhotoSet(tuple(Photo(Path(c), c, picture(i), c) for i, c in enumerate("xy", 20)), "a test")
    cat = TrainingSubject(Subject("zwx", "cat"), cats, ["a photo of zwx cat"], "a photo of a cat", [picture(8)])
    batches = PhotoBatches(toy, [dog, cat], batch_size=3, prior_weight=1.0)
    seen = Counter(p for step in range(40) for p in batches(Rng(0, step)).prompts)
    assert seen == {
        "a photo of sks dog": 60,
        "zwx cat, x": 30,
        "zwx cat, y": 30,
        "a photo of a dog": 60,
        "a photo of a cat": 60,
    }
    batch = batches(Rng(0, 1))
    assert batch.prompts[:3].count("a photo of sks dog") == 1
    assert batch.weight.tolist() == pytest.approx([1 / 3] * 6)
    alone = PhotoBatches(toy, [dog], batch_size=3, prior_weight=1.0)(Rng(0))
    assert alone.prompts == ["a photo of sks dog"] * 3 + ["a photo of a dog"] * 3
