"""Leave-one-out tuning."""

from __future__ import annotations

import shutil
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
from booth.train import samples
from booth.train.run import train
from booth.train.selection import Marks
from booth.train.trainer import Trainer
from harness import slow, tensors


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

    class Counting(Trainer):
        def __init__(self, *arguments: Any, photos: Any = None, **named: Any) -> None:
            super().__init__(*arguments, photos=photos, **named)
            if photos is not None:
                seen.append(len(photos[0].photos))

    monkeypatch.setattr(tuning, "Trainer", Counting)
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
    with pytest.raises(BadDataError, match=r"too few to leave one out.*do not tune"):
        tune(RunConfig(photos=files, noun="dog", base=str(toy_base)))


SETTINGS: list[Any] = [
    {"settings": {"prior_weight": 1.0, "class_pictures": 4}, "resolution": 16},
    slow({"settings": {"prior_weight": 1.0, "prior": "prediction"}}),
    {"settings": {"caption_dropout": 0.5, "ema": 0.9, "accumulate": 2}, "crop": "random", "flip": True},
    {"crop": "buckets", "base_precision": "bf16"},
    slow({"method": "two_stage", "settings": {"token_steps": 2}}),
    {"also": True},
    {"until": "done", "memory": "fp32+freed"},
]


@pytest.mark.essential
@pytest.mark.parametrize("options", SETTINGS)
def test_what_is_tuned_is_what_is_trained(
    toy_base: Path, five_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Step for step the same losses as a run on the same photos; the class noun stands in the folder's name."""
    monkeypatch.setattr(tuning, "JUDGES", {"checkpoints": Nearness})
    monkeypatch.setattr(tuning, "FOLDS", 1)
    monkeypatch.setattr(tuning, "RATES", (1.0,))
    monkeypatch.setattr(samples, "draw", lambda model, prompts, *_, **how: [Image.new("RGB", (8, 8))] * len(prompts))
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    named = tmp_path / "1_zwx cat"
    shutil.copytree(five_photos, named)
    options = {"base": str(toy_base)} | options
    options["settings"] = {"steps": 3} | options.get("settings", {})
    if options.pop("also", None):
        options["also"] = [{"photos": [five_photos], "token": "ohwx", "noun": "bird"}]
    tried: list[float] = []
    config = RunConfig(photos=[tmp_path], out=tmp_path / "out", **options)
    tune(config, listeners=[lambda e: tried.append(e.data["loss"]) if e.kind == "step" else None])
    (named / "0.png").unlink()
    trained: list[float] = []
    straight = config.model_copy(update={"until": "steps"})
    train(straight, listeners=[lambda e: trained.append(e.data["loss"]) if e.kind == "step" else None])
    assert tried == trained
    assert len(tried) >= 3
