"""Class pictures: the same for the same seed, kept losslessly, and never trusted when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from booth.core.errors import BoothError
from booth.core.family import Family
from booth.data.prior import BATCH, class_pictures, class_prompt
from booth.generate.draw import draw


class Painter:
    """Stands in for the drawing room: noise that depends on prompt and seed, and a memory of what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], list[int], dict[str, Any]]] = []

    def __call__(self, model: Family, prompts: list[str], seeds: list[int], **settings: Any) -> list[Image.Image]:
        self.calls.append((prompts, seeds, settings))
        return [self.paint(p, s) for p, s in zip(prompts, seeds, strict=True)]

    @staticmethod
    def paint(prompt: str, seed: int) -> Image.Image:
        rng = np.random.default_rng([seed, *map(ord, prompt)])
        return Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def asked(toy: Family, cache: Path, draw: Painter, count: int = 6, **changed: Any) -> list[bytes]:
    arguments = {"noun": "dog", "seed": 3, "base_id": "sha256:abc", "guidance": 5.0} | changed
    images = class_pictures(toy, count=count, cache=cache, draw=draw, **arguments)
    assert len(images) == count
    return [image.tobytes() for image in images]


def test_pictures_are_drawn_once_and_read_back_unchanged(toy: Family, tmp_path: Path) -> None:
    first, second = Painter(), Painter()
    drawn = asked(toy, tmp_path, first)
    assert len(set(drawn)) == 6
    assert [len(prompts) for prompts, _, _ in first.calls] == [BATCH, BATCH]
    assert {p for prompts, _, _ in first.calls for p in prompts} == {"a photo of a dog"}
    assert first.calls[0][2] == {"steps": 30, "guidance": 5.0, "batch_size": BATCH}
    assert asked(toy, tmp_path, second) == drawn
    assert second.calls == []


def test_a_picture_does_not_depend_on_how_many_are_wanted(toy: Family, tmp_path: Path) -> None:
    few = asked(toy, tmp_path / "a", Painter(), count=3)
    grown = Painter()
    many = asked(toy, tmp_path / "a", grown, count=10)
    assert many[:3] == few
    assert len(grown.calls) == 2, "only what is missing is drawn"
    assert asked(toy, tmp_path / "b", Painter(), count=10) == many


@pytest.mark.parametrize(
    "changed",
    [{"noun": "cat"}, {"seed": 4}, {"base_id": "sha256:abd"}, {"steps": 10}, {"guidance": 3.0}, {"side": 16}],
)
def test_another_base_noun_seed_or_setting_has_its_own_pictures(
    changed: dict[str, Any], toy: Family, tmp_path: Path
) -> None:
    asked(toy, tmp_path, Painter())
    again = Painter()
    asked(toy, tmp_path, again, **changed)
    assert len(again.calls) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_base_that_is_drawn_otherwise_has_its_own_pictures(
    toy: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(toy, tmp_path, Painter())
    monkeypatch.setattr(toy, "sampler", "euler-a")
    again = Painter()
    asked(toy, tmp_path, again)
    assert len(again.calls) == 2


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": data[:50], "changed": data[:-30] + b"x" + data[-29:]}[how])


@pytest.mark.parametrize(
    ("name", "how"),
    [(n, h) for n in ("2.png", "manifest.json") for h in ("removed", "empty", "cut")] + [("2.png", "changed")],
)
def test_a_damaged_picture_is_drawn_again(name: str, how: str, toy: Family, tmp_path: Path) -> None:
    drawn = asked(toy, tmp_path, Painter())
    (folder,) = tmp_path.iterdir()
    damage(folder / "00004" / name, how)
    again = Painter()
    assert asked(toy, tmp_path, again) == drawn
    assert len(again.calls) == 1
    assert asked(toy, tmp_path, Painter()) == drawn


def test_another_picture_under_a_cached_name_is_noticed(toy: Family, tmp_path: Path) -> None:
    drawn = asked(toy, tmp_path, Painter())
    (folder,) = tmp_path.iterdir()
    Image.new("RGB", (32, 32)).save(folder / "00000" / "0.png")
    assert asked(toy, tmp_path, Painter()) == drawn


def test_a_killed_run_leaves_what_it_had_finished(toy: Family, tmp_path: Path) -> None:
    class Killed(Painter):
        def __call__(self, *args: Any, **kwargs: Any) -> list[Image.Image]:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        asked(toy, tmp_path, Killed(), count=12)
    again = Painter()
    resumed = asked(toy, tmp_path, again, count=12)
    assert len(again.calls) == 1
    assert resumed == asked(toy, tmp_path / "uninterrupted", Painter(), count=12)


def test_the_drawing_room_draws_them(toy: Family, tmp_path: Path) -> None:
    drawn = asked(toy, tmp_path, draw, count=2, steps=2)  # type: ignore[arg-type]
    assert drawn[0] != drawn[1]
    assert asked(toy, tmp_path, Painter(), count=2, steps=2) == drawn


def test_nothing_is_drawn_from_a_base_that_is_being_trained(toy: Family, tmp_path: Path) -> None:
    asked(toy, tmp_path, Painter(), count=4)
    next(toy.components()["unet"].parameters()).requires_grad_(True)
    asked(toy, tmp_path, Painter(), count=4)
    with pytest.raises(ValueError, match="frozen base"):
        asked(toy, tmp_path, Painter(), count=5)


def test_a_cache_that_cannot_be_written_says_so(toy: Family, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BoothError, match="cannot be kept"):
        asked(toy, tmp_path / "file", Painter())


def test_the_prompt_has_the_right_article() -> None:
    assert [class_prompt(n) for n in ("dog", "umbrella", "stuffed animal")] == [
        "a photo of a dog",
        "a photo of an umbrella",
        "a photo of a stuffed animal",
    ]


@pytest.mark.parametrize("noun", ["../../etc", "/", ".", "stuffed animal", "Hündchen", "a\0b", "\ud800", "x" * 500])
def test_any_noun_makes_a_folder_inside_the_cache(noun: str, toy: Family, tmp_path: Path) -> None:
    asked(toy, tmp_path / "cache", Painter(), count=1, noun=noun)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
