"""Aspect-ratio buckets: which there are, what goes where, and that a batch is of one."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from photo_files import picture
from PIL import Image

from bases import write_base
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, Preprocessing, TrainingSubject
from booth.data.buckets import bucket_of, bucket_shapes, size_ids
from booth.data.control_images import ControlImages
from booth.data.own_predictions import OwnPredictions, Untouched
from booth.data.photos import Photo, PhotoSet, load_photos
from booth.families.loading import load_family
from booth.train.loop import losses

# Podell et al., 2307.01952, appendix I: heights with their widths. The other half is the same, turned.
PUBLISHED = {
    512: (2048, 1984, 1920, 1856),
    576: (1792, 1728, 1664),
    640: (1600, 1536),
    704: (1472, 1408, 1344),
    768: (1344, 1280),
    832: (1216, 1152),
    896: (1152, 1088),
    960: (1088, 1024),
    1024: (1024,),
}
DOG = Subject("sks", "dog")
WIDE, TALL = (96, 64), (48, 96)  # go to 40x24 and 24x40 of the toy base, whose pictures have 32x32


def photos(*sizes: tuple[int, int], **changed: Any) -> PhotoSet:
    made = (Photo(Path(f"{i}"), f"{i}", picture(i, size), f"photo {i}", **changed) for i, size in enumerate(sizes))
    return PhotoSet(tuple(made), "a test")


def batches_of(model: Family, taught: PhotoSet, **changed: Any) -> PhotoBatches:
    how = {key: changed.pop(key) for key in list(changed) if key in Preprocessing.__dataclass_fields__}
    lesson = TrainingSubject(DOG, taught, ["sks dog"], "a dog", changed.pop("class_images", []))
    return PhotoBatches(
        model, [lesson], **({"batch_size": 2, "preprocessing": Preprocessing("buckets", **how)} | changed)
    )


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def test_at_1024_they_are_those_of_stable_diffusion_xl() -> None:
    tall = {(h, w) for h, widths in PUBLISHED.items() for w in widths}
    assert set(bucket_shapes(1024, 64)) == tall | {(w, h) for h, w in tall}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((8, 16, 32, 64)), st.integers(1, 24), st.integers(1, 4000), st.integers(1, 4000))
@example(8, 2, 1, 2)  # as near to (8, 32) as to (16, 16), which is as large
def test_a_photo_goes_to_the_nearest_of_about_equal_area(step: int, count: int, width: int, height: int) -> None:
    side = step * count
    shapes = bucket_shapes(side, step)
    assert (side, side) in shapes
    assert all(w % step == h % step == 0 and 0.9 * side**2 <= w * h <= side**2 for w, h in shapes)
    found = bucket_of((width, height), side, step)
    away = [abs(math.log(w * height / (h * width))) for w, h in shapes]
    assert abs(math.log(found[0] * height / (found[1] * width))) == pytest.approx(min(away), abs=1e-8)
    assert bucket_of((height, width), side, step) == found[::-1]


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((500, 500), (1024, 1024)),
        ((4032, 3024), (1152, 896)),  # log 1.3333 = 0.288: 0.251 is nearer than 1152x832's 0.325
        ((3000, 2000), (1216, 832)),
        ((1080, 1920), (768, 1344)),
        ((9000, 100), (2048, 512)),
    ],
)
def test_usual_photos_at_1024(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert bucket_of(size, 1024, 64) == bucket


def test_of_equal_aspects_the_largest_is_taken() -> None:
    assert {(992, 992), (1024, 1024)} <= set(bucket_shapes(1024, 32))
    assert bucket_of((7, 7), 1024, 32) == (1024, 1024)
    with pytest.raises(ValueError, match="multiples of 24"):
        bucket_shapes(32, 24)


@pytest.mark.parametrize(
    ("size", "shape", "ids"),
    [
        # 1216/3000 < 832/2000 = 0.416, so that 1248x832 covers the bucket, and 32 pixels of the width go
        ((3000, 2000), (1216, 832), (2000, 3000, 0, 16, 832, 1216)),
        # 1152/4000 = 0.288 covers it with 1152x1152, of which 256 go
        ((4000, 4000), (1152, 896), (4000, 4000, 128, 0, 896, 1152)),
        ((304, 208), (1216, 832), (208, 304, 0, 0, 832, 1216)),
    ],
)
def test_the_size_ids_say_what_was_done(size: tuple[int, int], shape: tuple[int, int], ids: tuple[int, ...]) -> None:
    assert size_ids(size, shape) == ids


def test_a_photo_is_resized_and_cut_no_more_than_its_bucket_asks(toy: Family) -> None:
    batches = batches_of(toy, photos(WIDE))
    (bucket,) = batches._encoded[0].photos.buckets.values()
    # 96x64 has to become as wide as 40:24, which is 96x57.6
    expected = picture(0, WIDE).resize((40, 24), Image.Resampling.LANCZOS, box=(0, 3, 96, 61))
    assert torch.allclose(bucket.pictures[0].mean, toy.encode(pixels(expected)).mean, atol=1e-5)


def test_a_batch_is_of_one_bucket_and_every_photo_comes_equally_often(toy: Family) -> None:
    taught = photos(WIDE, WIDE, WIDE, TALL, (64, 64))
    batches, again = batches_of(toy, taught, batch_size=3), batches_of(toy, taught, batch_size=3)
    shapes = {0: (6, 10), 1: (6, 10), 2: (6, 10), 3: (10, 6), 4: (8, 8)}  # latents, height first
    dealt: Counter[int] = Counter()
    order: list[tuple[int, ...]] = []
    for step in range(10):  # two epochs of five batches
        batch = batches(Rng(0, step))
        numbers = [int(prompt.rpartition(" ")[2]) for prompt in batch.prompts]
        assert {shapes[n] for n in numbers} == {tuple(batch.latents.shape[-2:])}
        assert len(set(numbers)) == min(3, list(shapes.values()).count(shapes[numbers[0]]))
        dealt.update(numbers)
        order.append(tuple(batch.latents.shape[-2:]))
    assert dealt == dict.fromkeys(range(5), 6)
    assert order[:5] != order[5:], "the second epoch has another order"
    late = again(Rng(0, 7))  # asked for alone, as by a resumed run
    assert late.prompts == batches(Rng(0, 7)).prompts
    assert torch.equal(late.latents, batches(Rng(0, 7)).latents)


def test_micro_batches_go_on_through_the_buckets(toy: Family) -> None:
    batches = batches_of(toy, photos(WIDE, TALL, TALL), batch_size=1, accumulate=3)
    assert sorted(batches(Rng(0, 4, m)).prompts[0] for m in range(3)) == [f"sks dog, photo {i}" for i in range(3)]


def test_repeats_are_honoured_across_buckets(toy: Family) -> None:
    wide, tall = photos(WIDE, TALL).photos
    often = Photo(tall.path, tall.sha256, tall.image, tall.caption, repeats=3)
    batches = batches_of(toy, PhotoSet((wide, often), "a test"), batch_size=1)
    seen = Counter(batches(Rng(0, step)).prompts[0] for step in range(8))
    assert seen == {"sks dog, photo 0": 2, "sks dog, photo 1": 6}


def test_masks_hints_and_mirrored_views_follow_the_bucket(toy: Family) -> None:
    mask = Image.new("L", WIDE)
    mask.paste(255, (0, 0, 48, 64))
    taught = photos(WIDE, mask=mask, control_image=picture(7, WIDE))
    hints = ControlImages("canny", taught.photos, lambda text: None)
    batches = batches_of(toy, taught, flip=True, unmasked_weight=0.0, control_images=hints)
    batch = batches(Rng(0))
    assert batch.mask is not None
    assert batch.control is not None
    assert (batch.mask.shape[-2:], batch.control.shape[-2:]) == ((6, 10), (24, 40))
    (bucket,) = batches._encoded[0].photos.buckets.values()
    assert bucket.masks is not None
    assert bucket.masks[0] is not None
    upright, mirrored = bucket.masks[0][:, 0]
    expected = torch.zeros(6, 10)
    expected[:, :5] = 2.0
    assert torch.allclose(upright, expected)
    assert torch.allclose(mirrored, expected.flip(1))


def test_class_pictures_take_the_shape_of_the_photos_beside_them(toy: Family) -> None:
    class_images = [picture(i, (32, 32)) for i in (7, 8, 9)]
    batches = batches_of(toy, photos(WIDE, TALL), class_images=class_images, prior_weight=0.5)
    for step in range(4):
        batch = batches(Rng(0, step))
        wide = batch.latents.shape[-2:] == (6, 10)
        assert batch.prompts[2:] == ["a dog"] * 2
        assert batch.weight.tolist() == [0.5, 0.5, 0.25, 0.25]
        assert batch.sizes is not None
        # a square covers 40x24 as 40x40, of which 16 go
        assert batch.sizes[2].tolist() == ([32, 32, 8, 0, 24, 40] if wide else [32, 32, 0, 8, 40, 24])
    dealt = batches_of(toy, photos(WIDE, TALL), prior_weight=1.0, prior="prediction")
    source = OwnPredictions(dealt, Untouched(toy, ["a dog"]), toy.noising)
    rngs = [Rng(0, step) for step in range(2)]
    assert all(torch.isfinite(losses(toy, source(rng), rng)) for rng in rngs)


def test_subjects_take_turns_batch_by_batch(toy: Family) -> None:
    cat = TrainingSubject(Subject("zwx", "cat"), photos(TALL, TALL), ["zwx cat"], "a cat")
    dog = TrainingSubject(DOG, photos(WIDE), ["sks dog"], "a dog")
    batches = PhotoBatches(toy, [dog, cat], batch_size=2, preprocessing=Preprocessing("buckets"))
    told = [sorted(batches(Rng(0, step)).prompts) for step in range(4)]
    assert told[::2] == [["sks dog, photo 0"] * 2] * 2
    assert told[1::2] == [["zwx cat, photo 0", "zwx cat, photo 1"]] * 2


def test_the_file_s_own_size_is_told_though_less_is_kept(tmp_path: Path) -> None:
    Image.new("RGB", (2400, 1600), (90, 60, 30)).save(tmp_path / "a.png")
    (photo,) = load_photos([tmp_path]).photos
    assert (photo.size, photo.image.size) == ((2400, 1600), (1536, 1024))


def test_stable_diffusion_xl_is_told_and_squares_are_told_as_drawn(tmp_path: Path) -> None:
    model = load_family(str(write_base("stable_diffusion_xl", tmp_path / "base")))
    told: list[torch.Tensor] = []
    network: Any = model.components()["unet"]
    network.register_forward_pre_hook(
        lambda module, args, kwargs: told.append(kwargs["added_cond_kwargs"]["time_ids"]), with_kwargs=True
    )
    assert model.bucket_step == 8
    taught = photos((40, 10))  # 32x8 of the base's 16x16
    for preprocessing in (Preprocessing("buckets"), Preprocessing("center")):
        batch = PhotoBatches(
            model, [TrainingSubject(DOG, taught, [""], "")], batch_size=2, preprocessing=preprocessing
        )(Rng(0))
        assert torch.isfinite(losses(model, batch, Rng(0)))
    bucketed, squares = told
    assert bucketed.tolist() == [[10, 40, 0, 0, 8, 32]] * 2
    assert squares.tolist() == [[16, 16, 0, 0, 16, 16]] * 2
