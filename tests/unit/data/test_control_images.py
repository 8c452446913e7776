"""Hints: found in every layout, cut like their pictures, or made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.batches import PhotoBatches, Preprocessing, TrainingSubject
from booth.data.control_images import ControlImages, make_control_images
from booth.data.latents import View
from booth.data.photos import PhotoSet, load_photos
from booth.registry import CONTROLS

NAMES = ["0", "1", "2"]


def noise(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8))


def save(file: Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise(seed, size).save(file)


def beside(folder: Path) -> Path:
    for i, name in enumerate(NAMES):
        save(folder / f"{name}.png", i)
        save(folder / f"{name}-condlabel.png", 100 + i)
    return folder


def below(folder: Path) -> Path:
    for i, name in enumerate(NAMES):
        save(folder / f"{name}.png", i)
        save(folder / "conditioning" / f"{name}.png", 100 + i)
    return folder


def next_to(folder: Path) -> Path:
    for i, name in enumerate(NAMES):
        save(folder / "images" / f"{name}.png", i)
        save(folder / "conditioning" / f"{name}.png", 100 + i)
    return folder


def hub(folder: Path) -> Path:
    rows = []
    for i, name in enumerate(NAMES):
        save(folder / f"{name}.png", i)
        save(folder / f"hint-{name}.png", 100 + i)
        rows.append({"file_name": f"{name}.png", "conditioning_image": f"hint-{name}.png", "text": f"thing {name}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def fill50k(folder: Path) -> Path:
    rows = []
    for i, name in enumerate(NAMES):
        save(folder / "target" / f"{name}.png", i)
        save(folder / "source" / f"{name}.png", 100 + i)
        rows.append({"source": f"source/{name}.png", "target": f"target/{name}.png", "prompt": f"thing {name}"})
    (folder / "prompt.json").write_text("\n".join(map(json.dumps, rows)))
    return folder


LAYOUTS = [
    (beside, "a flat folder of 3 photos, 3 with a hint"),
    (below, "a flat folder of 3 photos, 3 with a hint"),
    (next_to, "a flat folder of 3 photos, 3 with a hint, below the folder"),
    (hub, "a Hub imagefolder of 3 photos, 3 with a caption, 3 with a hint"),
    (fill50k, "a set of pairs as Fill50K, of 3 photos, 3 with a caption, 3 with a hint"),
]


@pytest.mark.parametrize(("lay", "told"), LAYOUTS, ids=lambda x: getattr(x, "__name__", ""))
def test_hints_are_found_in_every_layout(tmp_path: Path, lay: Any, told: str) -> None:
    found = load_photos([lay(tmp_path / "set")])
    assert told in found.layout
    assert not found.skipped
    assert not found.resized
    assert [p.path.stem for p in found.photos] == NAMES
    for i, photo in enumerate(found.photos):
        assert photo.image.tobytes() == noise(i).tobytes()
        assert photo.control_image is not None
        assert photo.control_image.tobytes() == noise(100 + i).tobytes()
        assert photo.caption == (f"thing {i}" if lay in (hub, fill50k) else None)


def test_files_named_one_by_one_have_their_hints_beside_them(tmp_path: Path) -> None:
    folder = beside(tmp_path)
    found = load_photos(sorted(folder.glob("*.png")))
    assert "a flat folder of 3 photos, 3 with a hint" in found.layout  # for that is what a shell makes of it
    assert all(p.control_image for p in found.photos)
    some = load_photos(sorted(folder.glob("[01]*.png")))
    assert "a list of 2 photos, 2 with a hint" in some.layout


def test_a_hint_of_another_size_is_resized_and_announced(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0, (96, 80))
    save(tmp_path / "a-condlabel.png", 1, (48, 40))
    found = load_photos([tmp_path])
    (photo,), (told,) = found.photos, found.resized
    assert "a-condlabel.png and its picture have 48x40 and 96x80 pixels" in told
    assert photo.control_image is not None
    assert photo.control_image.size == (96, 80)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: save(f / "1-condlabel.png", 9, (40, 48)), r"different shapes \(40x48 and 48x40\); crop them alike"),
        (lambda f: (f / "1-condlabel.png").write_bytes(b"GIF89a"), "has a hint, .*1-condlabel.png, that is a GIF"),
    ],
)
def test_a_hint_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, spoil: Any, told: str) -> None:
    spoil(beside(tmp_path))
    with pytest.raises(BadDataError, match=told):
        load_photos([tmp_path])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"source": "../x.png", "target": "target/0.png"}, "outside the folder"),
        ({"source": "source/9.png", "target": "target/0.png"}, "does not exist"),
        ({"image": "target/0.png"}, "line 4 is no"),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, str], told: str) -> None:
    with (fill50k(tmp_path) / "prompt.json").open("a") as file:
        file.write("\n" + json.dumps(row))
    with pytest.raises(BadDataError, match=told):
        load_photos([tmp_path])


def test_some_hints_and_unknown_controls_are_refused(tmp_path: Path) -> None:
    photos = load_photos([beside(tmp_path / "a")]).photos
    ControlImages("pose", photos, lambda _: None)  # any name, where hints are given
    (tmp_path / "a" / "1-condlabel.png").unlink()
    with pytest.raises(BadDataError, match="1 of 3 pictures have no hint"):
        ControlImages("canny", load_photos([tmp_path / "a"]).photos, lambda _: None)
    with pytest.raises(UsageError, match="'pose' is no control that makes one"):
        ControlImages("pose", load_photos([plain(tmp_path / "b")]).photos, lambda _: None)


def plain(folder: Path) -> Path:
    for i, name in enumerate(NAMES):
        save(folder / f"{name}.png", i)
    return folder


def batches(model: Family, photos: PhotoSet, control: str, **changed: Any) -> PhotoBatches:
    how: dict[str, Any] = {"batch_size": 2, "preprocessing": Preprocessing(crop="random", flip=True)}
    hints = ControlImages(control, photos.photos, lambda _: None)
    return PhotoBatches(
        model, [TrainingSubject(Subject("", ""), photos, [""], "")], control_images=hints, **(how | changed)
    )


def test_rows_carry_the_hint_of_the_very_view_that_is_learned(toy: Family, tmp_path: Path) -> None:
    """Hints that are the pictures themselves must encode to the latents' own means, whatever the crop and mirror."""
    for i, name in enumerate(NAMES):
        save(tmp_path / f"{name}.png", i)
        save(tmp_path / f"{name}-condlabel.png", i)
    deal = batches(toy, load_photos([tmp_path]), "pose")
    seen: set[bytes] = set()
    for step in range(8):
        rng = Rng(0, step)
        batch = deal(rng)
        assert batch.control is not None
        posterior = toy.encode(batch.control * 2 - 1)
        expected = posterior.sample(rng.normal("posterior", posterior.mean))
        assert torch.allclose(batch.latents, expected, atol=1e-5)
        seen |= {row.numpy().tobytes() for row in batch.control}
    assert len(seen) > 6  # not the same view again and again
    assert torch.equal(deal(Rng(0, 3)).control, deal(Rng(0, 3)).control)  # type: ignore[arg-type]


def test_mask_and_hint_are_of_the_very_view_that_is_learned(toy: Family, tmp_path: Path) -> None:
    """Each picture, its mask and its hint are one ramp from dark to bright, which tells where a crop was taken."""
    ramp = np.linspace(1, 254, 96).astype(np.uint8)
    for name, pixels in (("a", ramp), ("b", ramp[::-1])):
        for kind in ("", "-masklabel", "-condlabel"):
            Image.fromarray(np.tile(pixels, (32, 1))).convert("RGB").save(tmp_path / f"{name}{kind}.png")
    found = load_photos([tmp_path])
    assert all(p.mask and p.control_image for p in found.photos)
    deal = batches(toy, found, "pose", preprocessing=Preprocessing(crop="random", flip=True, unmasked_weight=0.0))
    seen: set[bytes] = set()
    for step in range(8):
        rng = Rng(0, step)
        batch = deal(rng)
        assert batch.control is not None
        assert batch.mask is not None
        posterior = toy.encode(batch.control * 2 - 1)
        assert torch.allclose(batch.latents, posterior.sample(rng.normal("posterior", posterior.mean)), atol=1e-5)
        inside = torch.nn.functional.adaptive_avg_pool2d(batch.control[:, :1], 8)
        expected = inside / inside.mean((2, 3), keepdim=True)
        assert torch.allclose(batch.mask, expected, atol=0.02)
        seen |= {row.numpy().tobytes() for row in batch.mask}
    assert len(seen) > 6


def test_class_rows_have_no_hints(toy: Family, tmp_path: Path) -> None:
    for prior in ("pictures", "prediction"):
        with pytest.raises(ValueError, match="class rows have no hints"):
            batches(toy, load_photos([beside(tmp_path)]), "pose", prior_weight=1.0, prior=prior)


def test_hints_are_made_from_views_where_none_are_given(toy: Family, tmp_path: Path) -> None:
    photos = load_photos([plain(tmp_path)])
    deal = batches(toy, photos, "scribble", preprocessing=Preprocessing(flip=True), batch_size=3)
    make = CONTROLS["scribble"]()
    squares = [p.image.resize((32, 32), Image.Resampling.LANCZOS, box=(4, 0, 44, 40)) for p in photos.photos]
    possible = {np.asarray(make(v)).tobytes() for s in squares for v in (s, ImageOps.mirror(s))}
    batch = deal(Rng(0))
    assert batch.control is not None
    assert batch.prompts == ["", "", ""]
    for row in batch.control:
        assert (row * 255).round().byte().permute(1, 2, 0).numpy().tobytes() in possible


def test_hints_are_made_for_drawing(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0, (64, 48))
    (file,) = make_control_images([tmp_path / "a.png"], "soft_edges", tmp_path / "out")
    assert Image.open(file).size == (64, 48)
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(CONTROLS["soft_edges"]()(noise(0, (64, 48)))))
    with pytest.raises(UsageError, match=r"a\.png is there already"):
        make_control_images([tmp_path / "a.png"], "scribble", tmp_path / "out", side=40)
    (file,) = make_control_images([tmp_path / "a.png"], "scribble", tmp_path / "other", side=40)
    assert Image.open(file).size == (40, 40)
    with pytest.raises(BadDataError, match="Two pictures are called a"):
        make_control_images([tmp_path / "a.png", tmp_path / "out" / "a.png"], "scribble", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_mirror_turns_normals_round() -> None:
    """x is red: what leans to the left leans to the right in a mirror."""
    left = Image.new("RGB", (4, 4), (55, 90, 200))
    view = View(noise(0, (4, 4)), None, left)
    assert view.mirrored(normals=True).control_image.getpixel((0, 0)) == (200, 90, 200)  # type: ignore[union-attr]
    assert view.mirrored().control_image.getpixel((0, 0)) == (55, 90, 200)  # type: ignore[union-attr]
