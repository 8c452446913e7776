"""A BatchSource in place of photos: it teaches, it is known again, and what does not fit is told before the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Heard, stop_after, weights

import booth
from booth.core.batch import Batch
from booth.core.errors import BadDataError, BoothError, Interrupted, UsageError
from booth.core.rng import Rng
from booth.testing.steps import deal
from booth.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("no_samples")


def deal_others(rng: Rng) -> Batch:
    return deal(Rng(rng.seed + 1, rng.step, rng.micro))


@pytest.fixture
def how(toy_base: Path, tmp_path: Path) -> dict[str, Any]:
    return {"base": str(toy_base), "out": tmp_path / "out", "steps": 3, "settings": {"rank": 2}}


@pytest.mark.essential
def test_it_teaches_and_a_run_of_it_goes_on(how: dict[str, Any], tmp_path: Path) -> None:
    heard = Heard()
    straight = booth.train(deal, "dog", **how | {"out": tmp_path / "straight"}, listeners=[heard])
    assert (straight.record.photos, len(straight.record.data["batches"])) == ([], 64)
    assert "Learning from batches of the caller's own." in heard.messages
    with pytest.raises(Interrupted):
        booth.train(deal, "dog", **how, listeners=[stop_after(2)])
    with pytest.raises(UsageError, match="batches was"):
        booth.train(deal_others, "dog", **how, resume=True)
    resumed = booth.train(deal, "dog", **how, resume=True)
    assert weights(resumed.folder) == weights(straight.folder)
    config = booth.configure(deal, "dog", **how | {"out": tmp_path / "other"})
    with Trainer(config, keep=False, batches=deal_others) as trainer:
        losses = [next(trainer).loss]
        assert len(trainer.loss_by_noise_level(levels=2)) == 2
        losses += [step.loss for step in trainer]
        with pytest.raises(UsageError, match="Every stage is finished"):
            trainer.loss_by_noise_level()
    assert losses != [event.data["loss"] for event in heard.of("step")]
    with pytest.raises(UsageError, match="Give them again"):
        Trainer(config, keep=False)


def varying(rng: Rng) -> Batch:
    return replace(deal(rng), latents=torch.randn(4, 4, 8, 8))


@pytest.mark.parametrize(
    ("source", "options", "kind", "told"),
    [
        (lambda rng: [deal(rng)], {}, BadDataError, "no booth.core.batch.Batch but list"),
        (lambda rng: replace(deal(rng), prompts=["a dog"]), {}, BadDataError, "rows of a batch do not go together: 1"),
        (
            lambda rng: replace(deal(rng), latents=torch.zeros(4, 3, 8, 8)),
            {},
            BadDataError,
            r"\(4, 3, 8, 8\), and those of Stable Diffusion .* are \(B, 4, 8, 8\)",
        ),
        (varying, {}, BadDataError, "Asked twice with the same rng"),
        (deal, {"flip": True}, UsageError, "`flip` is about photos"),
        (deal, {"until": "done"}, UsageError, "`until` is about photos"),
        (deal, {"method": "dreambooth", "settings": {"prior_weight": 1.0}}, UsageError, "Set prior_weight to 0"),
        (
            lambda rng: replace(deal(rng), control=None),
            {"method": "controlnet", "settings": {}},
            BadDataError,
            "no control images",
        ),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(
    how: dict[str, Any], tmp_path: Path, source: Any, options: dict[str, Any], kind: type[BoothError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        booth.train(source, "dog", **how | options)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out.run/checkpoints/*"))


def test_a_controlnet_follows_the_images_that_are_dealt(how: dict[str, Any]) -> None:
    concept = booth.train(deal, **how | {"method": "controlnet", "settings": {}, "steps": 1})
    assert concept.record.final_loss is not None
