"""Leave-one-out tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from booth.compare import tune as tuning
from booth.compare.tune import Trial, choose, tune
from booth.config import RunConfig
from booth.core.errors import BadDataError
from booth.data.photos import load_photos
from booth.train.selection import Marks
from harness import tensors


class Nearness:
    """Likes a LoRA that has moved so far: the best is 4 steps at the default rate."""

    made: list[Nearness] = []

    def __init__(self, model: Any, subject: Any, photos: Sequence[Image.Image], seed: int) -> None:
        self.photos, self.model, self.scored = list(photos), model, 0
        self.trained: list[float] = []
        Nearness.made.append(self)

    def score(self) -> Marks:
        moved = sum(
            float(p.detach().abs().sum())
            for n, p in self.model.components()["unet"].named_parameters()
            if "lora_B" in n
        )
        self.trained.append(moved)
        return Marks({}, [moved, moved])


def test_every_photo_is_left_out_once_and_the_base_is_as_before(
    toy_base: Path, five_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "JUDGES", {"checkpoints": Nearness})
    Nearness.made = []
    seen: list[int] = []
    batches = tuning._batches

    def counting(config: Any, model: Any, stage: Any, photos: Any, drawn: Any) -> Any:
        seen.append(len(photos.photos))
        return batches(config, model, stage, photos, drawn)

    monkeypatch.setattr(tuning, "_batches", counting)
    settings = {"steps": 4, "rank": 2, "learning_rate": 1e-3, "batch_size": 1}
    config = RunConfig(photos=[five_photos], noun="dog", base=str(toy_base), settings=settings)
    found = tune(config)
    assert [(t.learning_rate, t.steps) for t in found.trials] == [(r, s) for r in (5e-4, 1e-3, 2e-3) for s in (1, 2, 4)]
    assert all(len(t.units) == 5 * 2 for t in found.trials)
    assert seen == [4] * 15
    photos = [p.image.tobytes() for p in load_photos([five_photos]).photos]
    assert [judge.photos[0].tobytes() for judge in Nearness.made] == photos
    # The weights that were trained farthest are liked best, and that is sure.
    assert found.settings == {"learning_rate": 2e-3, "steps": 4}
    from booth.families.loading import load_family

    after, fresh = tensors(Nearness.made[0].model), tensors(load_family(str(toy_base)))
    assert after.keys() == fresh.keys()
    assert all(torch.equal(after[n], fresh[n]) for n in fresh)


def test_of_what_is_within_noise_the_shorter_is_chosen() -> None:
    slow = Trial(1.0, 100, (0.1, 0.1, 0.1, 0.1))
    half = Trial(1.0, 200, (0.50, 0.62, 0.55, 0.60))
    full = Trial(1.0, 400, (0.56, 0.58, 0.57, 0.59))
    other = Trial(2.0, 100, (0.56, 0.57, 0.56, 0.58))
    assert choose([slow, half, full, other]) == half
    sure = Trial(1.0, 400, (0.66, 0.68, 0.67, 0.69))
    assert choose([slow, half, sure, other]) == sure


def test_two_photos_are_too_few(toy_base: Path, five_photos: Path) -> None:
    files = sorted(five_photos.iterdir())[:2]
    with pytest.raises(BadDataError, match=r"too few to leave one out.*--tune"):
        tune(RunConfig(photos=files, noun="dog", base=str(toy_base)))
