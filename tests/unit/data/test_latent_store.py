"""Latents are kept by content: found again bit for bit, and never where anything that decides them is another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from photo_files import picture
from PIL import Image

from booth.core.family import Family, Posterior
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, Preprocessing, TrainingSubject
from booth.data.latent_store import LatentStore
from booth.data.photos import Photo, PhotoSet
from booth.families.loading import load_family
from booth.testing.toy import write_toy_base


class Encoder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Sequence[Image.Image]) -> Posterior:
        self.asked += 1
        return Posterior(torch.full((len(images), 4, 8, 8), 0.5), torch.ones(len(images), 4, 8, 8))


def batches(model: Family, store: LatentStore | None, crop: str = "center", seed: int = 0) -> PhotoBatches:
    photos = tuple(Photo(Path(f"{i}"), f"{i}", picture(seed + i, (48, 32))) for i in range(3))
    lesson = TrainingSubject(
        Subject("sks", "dog"), PhotoSet(photos, ""), ["sks dog"], "a dog", [picture(9), picture(10)]
    )
    preprocessing = Preprocessing(crop, flip=True)  # type: ignore[arg-type]
    return PhotoBatches(model, [lesson], batch_size=2, prior_weight=1.0, preprocessing=preprocessing, store=store)


@pytest.mark.parametrize("crop", ["center", "random", "buckets"])
def test_what_is_found_is_bit_for_bit_what_would_be_encoded(
    toy: Family, tmp_path: Path, crop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = batches(toy, None, crop)
    first = batches(toy, LatentStore(tmp_path, toy), crop)

    def refuse(pixels: torch.Tensor) -> Posterior:
        raise AssertionError("encoded again")

    monkeypatch.setattr(toy, "encode", refuse)
    again = batches(toy, LatentStore(tmp_path, toy), crop)
    for step in range(4):
        for other in (first, again):
            assert torch.equal(plain(Rng(0, step)).latents, other(Rng(0, step)).latents)
    with pytest.raises(AssertionError, match="encoded again"):
        batches(toy, LatentStore(tmp_path, toy), crop, seed=5)


def test_another_autoencoder_or_precision_finds_nothing(toy: Family, tmp_path: Path) -> None:
    encode = Encoder()
    images = [picture(0)]
    LatentStore(tmp_path / "cache", toy).posterior(images, encode)
    LatentStore(tmp_path / "cache", toy).posterior(images, encode)
    assert encode.asked == 1
    half = load_family(str(write_toy_base(tmp_path / "half")), dtype=torch.bfloat16)
    LatentStore(tmp_path / "cache", half).posterior(images, encode)
    assert encode.asked == 2
    with torch.no_grad():
        next(toy.components()["vae"].parameters()).add_(1.0)
    LatentStore(tmp_path / "cache", toy).posterior(images, encode)
    LatentStore(tmp_path / "cache", toy).posterior([picture(0), picture(1)], encode)
    assert encode.asked == 4


@pytest.mark.parametrize("harm", ["truncated", "a flipped bit", "text", "empty"])
def test_a_damaged_entry_is_made_anew(toy: Family, tmp_path: Path, harm: str) -> None:
    encode, images = Encoder(), [picture(0)]
    LatentStore(tmp_path, toy).posterior(images, encode)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    harmed = {"truncated": data[:200], "a flipped bit": data, "text": b"not a tensor", "empty": b""}
    file.write_bytes(harmed[harm])
    found = LatentStore(tmp_path, toy).posterior(images, encode)
    assert encode.asked == 2
    assert bool((found.mean == 0.5).all())
    LatentStore(tmp_path, toy).posterior(images, encode)
    assert encode.asked == 2


def test_the_folder_holds_no_more_than_it_may_and_what_is_used_stays(toy: Family, tmp_path: Path) -> None:
    encode = Encoder()
    size = 2 * 4 * 4 * 8 * 8 + 1000  # bytes of an entry, at most
    store = LatentStore(tmp_path, toy, most=4 * size)
    for i in range(9):
        store.posterior([picture(i)], encode)
        store.posterior([picture(0)], encode)
    assert encode.asked == 9
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 4 * size


def test_a_place_that_cannot_be_written_is_no_failure(toy: Family, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encode = Encoder()
    LatentStore(tmp_path / "file", toy).posterior([picture(0)], encode)
    assert encode.asked == 1


def test_the_folder_is_not_looked_through_after_each_entry(
    toy: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    monkeypatch.setattr("booth.data.latent_store.bound", lambda folder, most, keep: looks.append(keep))
    store = LatentStore(tmp_path, toy)
    for i in range(20):
        store.posterior([picture(i)], Encoder())
    assert len(looks) == 1
