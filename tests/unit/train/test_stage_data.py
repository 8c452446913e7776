"""Runs that learn several subjects, a style, within masks, or with the base's own predictions as the prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from lessons import Heard, Lesson, weights
from PIL import Image

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.tokens import RARE_TOKENS
from booth.generate.concepts import Applied, attached
from booth.generate.run import Request
from booth.methods.templates import STYLE_TEMPLATES
from booth.train import setup, stage_data
from booth.train.dry_run import describe
from booth.train.run import train
from harness import PROMPT, draw

pytestmark = pytest.mark.usefixtures("no_samples")


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """Two photos of something green."""
    folder = tmp_path / "cats"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for i in range(2):
        pixels = rng.integers(0, 90, (48, 48, 3), dtype=np.uint8)
        pixels[8:40, 8 + i : 40, 1] = 220
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def named(concept: Concept) -> list[str]:
    return [f"{s.token} {s.noun}" for s in concept.record.subject.all]


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The prompts of the class pictures, which cost nothing and are kept nowhere else."""
    asked: list[str] = []

    def paint(model: Any, prompts: list[str], seeds: list[int], **how: Any) -> list[Image.Image]:
        asked.extend(prompts)
        return [Image.new("RGB", (32, 32), (seed % 255, 9, 9)) for seed in seeds]

    monkeypatch.setattr(stage_data, "draw", paint)
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "own cache"))
    return asked


def test_two_subjects_are_taught_in_one_run(lesson: Lesson, cats: Path, toy: Family, painted: list[str]) -> None:
    also = [f"{cats}=zwx cat"]
    concept = train(lesson("lora", also=also, prior_weight=1.0, class_pictures=4, steps=2))
    again = Concept.load(concept.folder)
    assert set(painted) == {"a photo of a dog", "a photo of a cat"}
    assert named(again) == ["sks dog", "zwx cat"]
    assert len(again.record.photos) == 6
    assert again.record.data["photos_each"] == [4, 2]
    alone = train(lesson("lora", "alone", steps=2, prior_weight=1.0, class_pictures=4))
    assert weights(alone.folder) != weights(concept.folder)
    applied = [Applied(again)]
    assert Request(["a zwx cat"], applied).warnings() == []
    assert len(Request(["a cat"], applied).warnings()) == 1
    with pytest.raises(UsageError, match="share the token 'sks'"), attached(toy, [*applied, Applied(alone)]):
        pass


def test_each_token_of_a_run_is_a_file_that_diffusers_reads(
    lesson: Lesson, cats: Path, toy: Family, toy_base: Path
) -> None:
    concept = train(lesson("textual_inversion", also=[f"{cats}=zwx cat"], steps=2, vectors=2, learning_rate=1e-1))
    files = ["learned_embeds.safetensors", "learned_embeds_2.safetensors"]
    assert concept.record.stages[0].files == files
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    for file in files:
        pipe.load_textual_inversion(concept.folder, weight_name=file)
    prompt = "a photo of sks dog and zwx cat"
    plain = draw(toy.pipeline(), prompt)
    with attached(toy, [Applied(concept)]):
        assert torch.equal(draw(toy.pipeline(), prompt), draw(pipe, prompt))
    assert not torch.equal(plain, draw(pipe, prompt))
    assert torch.equal(draw(toy.pipeline(), prompt), plain)


def test_a_resumed_run_must_teach_the_same_subjects(lesson: Lesson, cats: Path) -> None:
    config = lesson("lora", also=[f"{cats}=zwx cat"], steps=1)
    train(config)
    other = config.model_copy(update={"resume": True, "also": []})
    with pytest.raises(UsageError, match="also was \\['zwx cat'\\] and is now \\[\\]"):
        train(other)


@pytest.mark.parametrize("tokens", [("sks", "sks"), ("auto", None)])
def test_two_subjects_cannot_share_a_token(lesson: Lesson, cats: Path, tokens: tuple[str, str | None]) -> None:
    first, second = tokens
    if second is None:  # an automatic token steps aside by itself
        config = lesson(token=first, also=[f"{cats}=auto cat", f"{cats}=auto bird"])
        subject, _ = setup.load_subjects(config)
        assert len({s.token for s in subject.all} & set(RARE_TOKENS)) == 3
        return
    with pytest.raises(UsageError, match="Two subjects have the token 'sks'"):
        train(lesson(token=first, also=[f"{cats}={second} cat"]))


def test_a_style_has_its_own_noun_prompts_and_class(lesson: Lesson, painted: list[str]) -> None:
    concept = train(lesson("dreambooth", kind="style", noun="style", prior_weight=1.0, steps=1))
    assert set(painted) == {"a picture"}
    assert named(concept) == ["sks style"]
    assert concept.record.prompt == "a picture in sks style"
    (method,) = Concept.load(concept.folder).methods()
    assert method.prompts() == ["a picture in sks style"]
    (warning,) = Request(["a dog on the beach"], [Applied(concept)]).warnings()
    assert "'a dog on the beach in sks style'" in warning
    prompts = {p.stem for p in (concept.folder / "samples").iterdir()}
    assert any("a-picture-of-a-dog-in-sks-style" in name for name in prompts)


def test_the_published_templates_follow_the_kind(lesson: Lesson) -> None:
    plan = describe(lesson("textual_inversion", kind="style", templates="object"))
    prompts = plan["stages"][0]["prompts"]
    assert prompts[0] == "a picture in sks dog"
    assert len(prompts) == 1 + len(STYLE_TEMPLATES) == 20
    assert all(p.endswith(" in sks dog") for p in prompts)


@pytest.mark.essential
def test_masks_reach_the_weights_and_the_plan(lesson: Lesson, photos_folder: Path, tmp_path: Path) -> None:
    plain = weights(train(lesson("lora", "plain", steps=2)).folder)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    for file in list(photos_folder.iterdir()):
        mask.save(photos_folder / f"{file.stem}-masklabel.png")
    plan = describe(lesson("lora", "masked"))
    assert all(photo["masked"] for photo in plan["photos"]["used"])
    assert "4 of 4 photos have a mask" in plan["photos"]["masks"][0]
    masked = train(lesson("lora", "masked", steps=2))
    assert weights(masked.folder) != plain
    assert len(set(masked.record.data["masks"])) == 1
    assert weights(train(lesson("lora", "unused", steps=2, unmasked_weight=1.0)).folder) == plain


def test_the_own_predictions_need_no_class_pictures(lesson: Lesson, painted: list[str]) -> None:
    heard = Heard()
    concept = train(lesson("dreambooth", prior_weight=1.0, prior="prediction"), listeners=[heard])
    assert "Asking the base for its own predictions at 32 noised photos." in heard.messages
    assert painted == []
    assert "own_predictions" in concept.record.timings
    assert "class_pictures" not in concept.record.timings
    without = train(lesson("dreambooth", "without", prior_weight=0.0))
    assert weights(without.folder) != weights(concept.folder)


def test_a_controlnet_learns_of_several_subjects_or_of_none(lesson: Lesson, cats: Path) -> None:
    options = {"control": "scribble", "batch_size": 2, "also": [f"{cats}=zwx cat"], "caption_dropout": 0.0}
    concept = train(lesson("controlnet", noun="", token="", steps=1, **options))
    record = Concept.load(concept.folder).record
    assert (record.subject.token, record.prompt, named(concept)[1]) == ("", "", "zwx cat")
    assert len(list((concept.folder / "samples").iterdir())) == 4 + 2  # of each subject the first four photos
    applied = [Applied(concept)]
    assert Request(["a zwx cat"], applied).warnings() == []
    style = describe(lesson("controlnet", "style", kind="style", noun="style", control="scribble"))
    assert style["stages"][0]["prompts"] == ["a picture in sks style"]


def test_prompts_of_the_first_subject_are_its_own(lesson: Lesson, cats: Path, toy: Family) -> None:
    plan = describe(lesson("lora", also=[f"{cats}=zwx cat"]))
    assert plan["stages"][0]["prompts"] == [PROMPT]
    assert plan["also"][0]["subject"] == {"token": "zwx", "noun": "cat"}
    assert len(plan["also"][0]["photos"]["used"]) == 2
