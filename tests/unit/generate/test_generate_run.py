"""From a request to files."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.families.stable_diffusion import StableDiffusion
from booth.generate.concepts import Applied
from booth.generate.request import read_request
from booth.generate.run import Request, generate
from booth.generate.showcase import showcase
from booth.generate.start import Start
from listening import progress


def request(*words: str, **how: object) -> Request:
    given = {"more": [], "prompt_file": None, "base": None} | how
    return read_request(words, **given)


def test_pictures_are_named_and_carry_their_settings(lora: Concept, tmp_path: Path) -> None:
    asked = Request(["a sks dog", "a cat"], [Applied(lora, 0.5)], count=2, seed=7, steps=2, negative="bad")
    drawn = generate(asked, tmp_path / "new" / "out", sheet=True)
    assert [file.name for file in drawn.images] == [
        "001-a-sks-dog-7.png",
        "001-a-sks-dog-8.png",
        "002-a-cat-7.png",
        "002-a-cat-8.png",
    ]
    with Image.open(drawn.images[1]) as image:
        text = image.text["parameters"]
    assert text.startswith(
        "a sks dog\nNegative prompt: bad\nSteps: 2, Sampler: DDIM, CFG scale: 6, Seed: 8, Size: 32x32"
    )
    assert f"Model hash: {lora.record.base.hash[7:17]}" in text
    assert "(0.5)" in text
    assert drawn.sheet is not None
    assert drawn.sheet.is_file()
    assert drawn.to_json()["images"] == [str(file) for file in drawn.images]
    assert drawn.seconds > 0


@pytest.mark.essential
def test_the_same_request_writes_the_same_bytes(lora: Concept, tmp_path: Path) -> None:
    asked = Request(["a sks dog"], [Applied(lora)], count=2, steps=2)
    first, second = (generate(asked, tmp_path / name) for name in "ab")
    alone = generate(Request(["a sks dog"], [Applied(lora)], seed=1, steps=2), tmp_path / "c")
    assert [f.read_bytes() for f in first.images] == [f.read_bytes() for f in second.images]
    assert first.images[1].read_bytes() == alone.images[0].read_bytes()


def test_a_prompt_without_the_token_is_warned_about_with_the_right_one(lora: Concept, word: Concept) -> None:
    assert not Request(["a photo of sks dog"], [Applied(lora)]).warnings()
    assert not Request(["a photo of a dog"]).warnings()
    (warning,) = Request(["a dog on the beach"], [Applied(lora)]).warnings()
    assert "'a sks dog on the beach'" in warning
    assert not Request(["a zwx dog"], [Applied(lora), Applied(word)]).warnings()


def test_a_negative_prompt_without_guidance_is_warned_about() -> None:
    assert not Request(["a dog"], negative="bad").warnings()
    assert not Request(["a dog"], negative="bad", guidance=1.5).warnings()
    (warning,) = Request(["a dog"], negative="bad", guidance=1.0).warnings()
    assert "the negative prompt does nothing" in warning


@pytest.mark.parametrize(
    ("prompt", "meaning"),
    [
        ("a dog --n blurry --w 512 --h 512", "options of sd-scripts"),
        ("a (red:1.2) dog", "a weight"),
        ("a dog <lora:rex:0.8>", "a tag of a LoRA"),
        ("a ((red)) dog", "emphasis by brackets"),
        ("a {red|blue} dog", "a choice of words"),
        ("a dog BREAK a beach", "BREAK between parts"),
    ],
)
def test_what_another_program_gives_a_meaning_is_told_as_words(prompt: str, meaning: str) -> None:
    (warning,) = Request([prompt]).warnings()
    assert meaning in warning
    assert "which is drawn as words" in warning
    assert not Request(["a dog (on a beach), state-of-the-art, 3:2"]).warnings()


def test_an_upscaled_picture_says_so_as_hires_fix_does(toy_base: Path, tmp_path: Path) -> None:
    drawn = generate(Request(["a dog"], base=str(toy_base), steps=3, upscale=2), tmp_path / "out")
    with Image.open(drawn.images[0]) as image:
        assert image.size == (64, 64)
        text = image.text["parameters"]
    assert "Size: 32x32, Denoising strength: 0.35, Hires upscale: 2, Hires upscaler: Lanczos," in text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"steps": 2}, r"second pass of `upscale=2` cannot be drawn\. 2 steps at a strength of 0\.35.*`steps=3`"),
        ({"start": Start(Image.new("RGB", (64, 32)))}, r"second pass of `upscale=2`.*128 pixels a side.*100 at most"),
    ],
)
def test_what_cannot_be_upscaled_is_told_before_anything_is_drawn(
    toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(StableDiffusion, "largest", 100)
    heard: list[int] = []
    with pytest.raises(UsageError, match=told):
        generate(
            Request(["a dog"], base=str(toy_base), upscale=2, **({"steps": 4} | how)),
            tmp_path,
            listeners=[progress(heard)],
        )
    assert not heard


def test_words_are_a_concept_and_a_prompt(lora: Concept, word: Concept, tmp_path: Path) -> None:
    folder, other = str(lora.folder), str(word.folder)
    assert request(folder, "a sks dog").prompts == ["a sks dog"]
    assert request(folder).prompts == ["a photo of sks dog"]
    assert request(f"{folder}:0.5").concepts[0].strength == 0.5
    assert request("a dog", base="embedded").concepts == []
    together = request(folder, "a dog", more=[f"{other}:0.3"])
    assert [(a.concept.folder, a.strength) for a in together.concepts] == [(lora.folder, None), (word.folder, 0.3)]
    assert request("a dog", more=[other]).prompts == ["a dog"]
    assert len(request(folder, more=[other]).concepts) == 2
    assert len(request(f"{folder}:0.5", more=[other]).concepts) == 2
    assert request("a dog: at 5:30", more=[other]).prompts == ["a dog: at 5:30"]
    file = tmp_path / "prompts.txt"
    file.write_text("a\nb\n")
    assert request(folder, prompt_file=file).prompts == ["a", "b"]
    assert request(prompt_file=file, base="embedded").prompts == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "how", "told"),
    [
        ([], {}, "Name a concept"),
        (["x", "y", "z"], {}, "Too many words"),
        (["x", "y"], {"prompt_file": Path("p")}, "Too many words"),
        ([], {"base": "embedded"}, "A prompt is missing"),
    ],
)
def test_words_that_make_no_request_are_usage_errors(words: list[str], how: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        request(*words, **how)


def test_nothing_is_drawn_for_a_count_of_nought(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        generate(Request(["a dog"], count=0), tmp_path)


def test_a_showcase_has_base_and_concept_at_the_same_seeds(lora: Concept, five_photos: Path, tmp_path: Path) -> None:
    prompts = ["a photo of sks dog", "a photo of sks dog on the beach"]
    drawn = showcase(Applied(lora), prompts, sorted(five_photos.iterdir()), tmp_path)
    base, concept = drawn.images[:2], drawn.images[2:]
    assert [file.name for file in base] == [file.name for file in concept]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(base, concept))
    assert drawn.sheet is not None
    assert drawn.sheet.is_file()
