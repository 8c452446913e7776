"""Masked training: where masks come from, and what they do to the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photo_files import picture
from PIL import Image

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, Preprocessing, TrainingSubject
from booth.data.photos import Photo, PhotoSet, load_photos
from booth.train.loop import compare


def left(width: int, height: int, share: float = 0.5) -> Image.Image:
    """White on the left."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, round(width * share), height))
    return mask


def put(folder: Path, **pictures: Image.Image) -> Path:
    for name, image in pictures.items():
        image.save(folder / f"{name.replace('__', '-')}.png")
    return folder


def cut_out(alpha: Image.Image) -> Image.Image:
    image = picture(0, alpha.size)
    image.putalpha(alpha)
    return image


def test_a_mask_beside_a_photo_and_an_alpha_channel_are_masks(tmp_path: Path) -> None:
    mask = left(48, 40)
    put(tmp_path, a=picture(1), a__masklabel=mask, b=cut_out(mask), c=picture(2))
    found = load_photos([tmp_path])
    assert [p.path.name for p in found.photos] == ["a.png", "b.png", "c.png"]
    a, b, c = (p.mask for p in found.photos)
    assert a is not None
    assert b is not None
    assert a.tobytes() == b.tobytes() == mask.tobytes()
    assert c is None
    assert found.skipped == ()
    assert "2 of 3 photos have a mask" in found.notes[1]
    assert [p.mask_sha256 is not None for p in found.photos] == [True, False, False]
    listed = load_photos(sorted(tmp_path.iterdir()))
    assert [p.mask is not None for p in listed.photos] == [True, True, False]


def test_the_file_wins_over_the_alpha_channel(tmp_path: Path) -> None:
    put(tmp_path, a=cut_out(left(48, 40, 0.25)), a__masklabel=left(48, 40))
    (photo,) = load_photos([tmp_path]).photos
    assert photo.mask is not None
    assert photo.mask.tobytes() == left(48, 40).tobytes()


def test_a_mask_of_another_size_is_resized_and_that_is_told(tmp_path: Path) -> None:
    found = load_photos([put(tmp_path, a=picture(1), a__masklabel=left(96, 80))])
    (photo,) = found.photos
    assert photo.mask is not None
    assert photo.mask.size == (48, 40)
    assert any("a-masklabel.png and its picture have 96x80 and 48x40 pixels" in note for note in found.notes)


def test_a_mask_that_covers_all_is_none(tmp_path: Path) -> None:
    white = Image.new("L", (48, 40), 255)
    found = load_photos([put(tmp_path, a=picture(1), a__masklabel=white, b=cut_out(white))])
    assert [p.mask for p in found.photos] == [None, None]
    assert found.masks == ()


@pytest.mark.parametrize("where", ["file", "alpha"])
def test_an_empty_mask_is_an_error(where: str, tmp_path: Path) -> None:
    black = Image.new("L", (48, 40))
    put(tmp_path, a=cut_out(black)) if where == "alpha" else put(tmp_path, a=picture(1), a__masklabel=black)
    with pytest.raises(BadDataError, match=r"a\.png has a mask that is empty"):
        load_photos([tmp_path])


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    put(tmp_path, a=picture(1))
    (tmp_path / "a-masklabel.png").write_text("no picture")
    with pytest.raises(BadDataError, match=r"a\.png has a mask, a-masklabel\.png, that is no JPEG"):
        load_photos([tmp_path])


def test_a_mask_linked_from_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path, secret=left(48, 40))
    put(tmp_path / "in", a=picture(1))
    (tmp_path / "in" / "a-masklabel.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadDataError, match="outside the folder"):
        load_photos([tmp_path / "in"])


def batches_of(model: Family, *masks: Image.Image | None, size: tuple[int, int] = (32, 32), **how: Any) -> PhotoBatches:
    photos = tuple(Photo(Path(f"{i}"), f"{i}", picture(i, size), mask=m) for i, m in enumerate(masks))
    lesson = TrainingSubject(Subject("sks", "dog"), PhotoSet(photos, ""), ["sks dog"], "a dog", [picture(9)])
    prior = how.pop("prior_weight", 0.0)
    return PhotoBatches(model, [lesson], batch_size=len(masks), prior_weight=prior, preprocessing=Preprocessing(**how))


def test_the_loss_outside_the_mask_is_weighted_down_and_the_row_keeps_its_share(toy: Family) -> None:
    batch = batches_of(toy, left(32, 32, 0.25), unmasked_weight=0.2)(Rng(0))
    assert batch.mask is not None
    assert batch.mask.shape == (1, 1, 8, 8)
    by_hand = torch.full((8, 8), 0.2)
    by_hand[:, :2] = 1.0
    assert torch.allclose(batch.mask[0, 0], by_hand / 0.4)  # of mean 1: a quarter at 1, the rest at 0.2
    error = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = (error.square() * by_hand).sum() / (4 * by_hand.sum())
    assert torch.allclose(compare(error, torch.zeros_like(error), batch.weight, batch.mask), expected)


def test_a_latent_at_the_edge_counts_by_its_share_of_the_mask(toy: Family) -> None:
    mask = batches_of(toy, left(32, 32, 6 / 32), unmasked_weight=0.0)(Rng(0)).mask
    assert mask is not None
    assert torch.allclose(mask[0, 0, 0, :3] / mask[0, 0, 0, 0], torch.tensor([1.0, 0.5, 0.0]))


def test_rows_without_a_mask_and_class_rows_count_everywhere(toy: Family) -> None:
    batch = batches_of(toy, left(32, 32), None, prior_weight=0.5)(Rng(0))
    assert batch.mask is not None
    plain = [bool((row == 1).all()) for row in batch.mask]
    assert sorted(plain[:2]) == [False, True]
    assert plain[2:] == [True, True]


def test_without_masks_or_with_full_weight_outside_nothing_is_masked(toy: Family) -> None:
    assert batches_of(toy, None)(Rng(0)).mask is None
    assert batches_of(toy, left(32, 32), unmasked_weight=1.0)(Rng(0)).mask is None


def test_masks_are_cropped_and_mirrored_with_their_pictures(toy: Family) -> None:
    cache = batches_of(toy, left(64, 32), size=(64, 32), flip=True, unmasked_weight=0.0)._encoded[0].photos
    (bucket,) = cache.buckets.values()
    assert bucket.masks is not None
    assert bucket.masks[0] is not None
    upright, mirrored = bucket.masks[0][:, 0]
    expected = torch.zeros(8, 8)
    expected[:, :4] = 2.0  # the middle square has half of its width in the mask
    assert torch.allclose(upright, expected)
    assert torch.allclose(mirrored, expected.flip(1))


def test_random_crops_take_the_mask_from_the_same_place(toy: Family) -> None:
    mask = Image.fromarray(np.linspace(1, 255, 128, dtype=np.uint8)[None].repeat(32, 0))
    grey = Photo(Path("a"), "a", mask.convert("RGB"), mask=mask)
    only_bucket = PhotoBatches(
        toy,
        [TrainingSubject(Subject("sks", "dog"), PhotoSet((grey,), ""), [""], "")],
        batch_size=1,
        preprocessing=Preprocessing(crop="random", unmasked_weight=0.0),
    )
    from booth.data.latents import _views

    views = _views(grey, (32, 32), "random", False, 4)
    assert len({view.image.tobytes() for view in views}) > 1
    for view in views:
        assert view.mask is not None
        assert np.abs(np.asarray(view.image)[:, 4:-4, 0].astype(int) - np.asarray(view.mask)[:, 4:-4]).max() <= 3
    assert only_bucket(Rng(0)).mask is not None
