"""Sets of many pictures in tar files: what is in them, in what order it is dealt, and that a run of them goes on."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lessons import stop_after, weights
from PIL import Image

import booth
from booth.core.errors import BadDataError, Interrupted, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.data.shards import ShardBatches, Shards, are_shards

COUNT = 7
NOBODY = Subject("", "")


def png(level: int) -> bytes:
    """A grey square."""
    data = io.BytesIO()
    Image.new("RGB", (40, 48), (level, level, level)).save(data, "PNG")
    return data.getvalue()


def write(file: Path, files: list[tuple[str, bytes]]) -> Path:
    """A tar of them."""
    with tarfile.open(file, "w") as shard:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return file


def files_of(numbers: range, hints: bool = True) -> Iterator[tuple[str, bytes]]:
    """Of each a picture as bright as its number says, a caption and a hint."""
    for i in numbers:
        yield f"set/{i:03}.png", png(20 + 30 * i)
        yield (
            (f"set/{i:03}.txt", f"a square of brightness {i}".encode())
            if i % 2
            else (
                f"set/{i:03}.json",
                f'{{"caption": "a square of brightness {i}"}}'.encode(),
            )
        )
        if hints:
            yield f"set/{i:03}.hint.png", png(255 - i)
        yield f"set/{i:03}.cls", b"7"


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two."""
    return [
        write(tmp_path / "a.tar", list(files_of(range(4)))),
        write(tmp_path / "b.TAR", list(files_of(range(4, COUNT)))),
    ]


def dealt(source: ShardBatches, steps: int, seed: int = 0) -> list[str]:
    """The words of some steps."""
    return [words for step in range(steps) for words in source(Rng(seed, step)).prompts]


def test_every_picture_has_its_own_caption_and_hint(shards: list[Path], toy: Family) -> None:
    assert are_shards(shards)
    found = Shards(shards)
    assert found.in_words() == "7 pictures in 2 shards, 7 of them with a caption; each is encoded as it comes."
    source = ShardBatches(found, toy, NOBODY, ["a photo"], batch_size=3, control="canny")
    for step in range(5):
        batch = source(Rng(0, step))
        assert batch.control is not None
        for words, hint, latent in zip(batch.prompts, batch.control, batch.latents, strict=True):
            number = int(words.rsplit(" ", 1)[1])
            assert torch.all((hint * 255).round() == 255 - number), "as it lies in the shard, and not made"
            level = (20 + 30 * number) / 127.5 - 1
            with torch.no_grad():
                expected = toy.encode(torch.full((1, 3, toy.resolution, toy.resolution), level))
            assert (latent - expected.mean[0]).abs().max() < 6 * expected.std.max() + 1e-3


def test_an_epoch_has_every_picture_once_and_the_same_rng_the_same_batch(shards: list[Path], toy: Family) -> None:
    found = Shards(shards)
    source = ShardBatches(found, toy, NOBODY, ["a photo"], batch_size=COUNT)
    assert set(Counter(dealt(source, 3)).values()) == {3}
    assert dealt(source, 2) != dealt(source, 2, seed=1)
    again = ShardBatches(found, toy, NOBODY, ["a photo"], batch_size=COUNT)
    later, former = again(Rng(0, 2)), source(Rng(0, 2))
    assert later.prompts == former.prompts
    assert torch.equal(later.latents, former.latents)


def test_a_step_that_is_asked_for_again_is_encoded_once(
    shards: list[Path], toy: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, encoded = ShardBatches(Shards(shards), toy, NOBODY, ["a photo"], batch_size=2), toy.encode
    asked: list[int] = []
    monkeypatch.setattr(toy, "encode", lambda pixels: [asked.append(len(pixels)), encoded(pixels)][1])
    for step in (0, 0, 1, 1, 0):
        source(Rng(0, step))
    assert asked == [2, 2, 2]


def test_a_set_with_other_files_is_another(shards: list[Path], toy: Family, tmp_path: Path) -> None:
    def digest(files: list[Path]) -> str:
        return ShardBatches(Shards(files), toy, NOBODY, ["a photo"], batch_size=2).digest

    more = write(tmp_path / "more.tar", list(files_of(range(COUNT, COUNT + 1))))
    other = write(tmp_path / "other.tar", [*files_of(range(6)), ("set/006.png", png(9)), ("set/006.hint.png", png(1))])
    assert len({digest(shards), digest(shards[:1]), digest([*shards, more]), digest([other])}) == 4
    assert digest(shards) == digest(shards)


def test_captions_have_the_subject_in_front_and_are_dropped_now_and_then(shards: list[Path], toy: Family) -> None:
    named = ShardBatches(Shards(shards), toy, Subject("sks", "dog"), ["a photo"], batch_size=COUNT)
    assert all(words.startswith("sks dog, ") for words in dealt(named, 1))
    silent = ShardBatches(Shards(shards), toy, NOBODY, ["a photo"], batch_size=COUNT, caption_dropout=1.0)
    assert dealt(silent, 1) == [""] * COUNT


def test_hints_are_made_where_the_shards_bring_none(tmp_path: Path, toy: Family) -> None:
    plain = Shards([write(tmp_path / "plain.tar", list(files_of(range(2), hints=False)))])
    batch = ShardBatches(plain, toy, NOBODY, ["a photo"], batch_size=2, control="canny")(Rng(0))
    assert batch.control is not None
    assert not batch.control.any(), "a grey square has no edges"
    with pytest.raises(UsageError, match="no control that makes one"):
        ShardBatches(plain, toy, NOBODY, ["a photo"], batch_size=2, control="circles")


def test_names_lead_nowhere_and_links_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "odd.tar"
    with tarfile.open(file, "w") as shard:
        for name, kind in (("../../out.png", tarfile.REGTYPE), ("link.png", tarfile.SYMTYPE), ("._a.png", b"0")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            member.size = len(png(9)) if kind != tarfile.SYMTYPE else 0
            shard.addfile(member, io.BytesIO(png(9)))
    (only,) = Shards([file]).samples
    assert only.picture is not None
    assert only.picture.name == "../../out.png"
    assert only.picture.read(10**6) == png(9)
    assert not (tmp_path.parent.parent / "out.png").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.write_bytes(gzip.compress(b"x" * 2000)), "no plain tar file. Give tar files that are not compre"),
        (lambda f: None, "cannot be read: No such file"),
        (lambda f: write(f, [("a.txt", b"words")]), "holds no pictures"),
        (lambda f: write(f, [*files_of(range(1)), ("z.png", png(1))]), "1 of 2 pictures in the shards have no hint"),
    ],
)
def test_what_is_no_set_of_pictures_is_told_before_anything(make, message: str, tmp_path: Path) -> None:
    make(tmp_path / "wrong.tar")
    with pytest.raises(BadDataError, match=message):
        Shards([tmp_path / "wrong.tar"])


def test_a_damaged_picture_is_named_with_its_shard(tmp_path: Path, toy: Family) -> None:
    found = Shards([write(tmp_path / "bad.tar", [("a.png", b"no picture")])])
    with pytest.raises(BadDataError, match=r"'a\.png' in .*bad\.tar "):
        ShardBatches(found, toy, NOBODY, ["a photo"], batch_size=1)(Rng(0))


def test_a_control_net_is_taught_from_shards_and_goes_on_to_the_same_bits(
    shards: list[Path], toy_base: Path, tmp_path: Path
) -> None:
    how = {"method": "controlnet", "base": str(toy_base), "steps": 4, "batch_size": 2, "checkpoint_every": 2}
    straight = booth.train(shards, out=tmp_path / "straight", **how)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        booth.train(shards, out=tmp_path / "again", listeners=[stop_after(2)], **how)  # type: ignore[arg-type]
    again = booth.train(shards, out=tmp_path / "again", resume=True, **how)  # type: ignore[arg-type]
    assert weights(again.folder) == weights(straight.folder)
    assert again.record.data["batches"] == straight.record.data["batches"]


def test_what_is_about_photos_is_refused_beside_shards(shards: list[Path], toy_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`flip` is about photos, and this training learns from shards"):
        booth.train(shards, method="controlnet", base=str(toy_base), flip=True, out=tmp_path / "x")


def test_webdataset_reads_the_same(shards: list[Path]) -> None:
    """The library that writes and reads such files, where it is installed."""
    wds = pytest.importorskip("webdataset")
    theirs = list(wds.WebDataset([str(file) for file in shards], shardshuffle=False).decode("rgb8"))
    ours = Shards(shards).samples
    assert len(theirs) == len(ours)
    for sample, own in zip(theirs, ours, strict=True):
        assert own.picture is not None
        assert own.hint is not None
        assert own.picture.name == f"{sample['__key__']}.png"
        for place, key in ((own.picture, "png"), (own.hint, "hint.png")):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(place.read(10**6)))), sample[key])
