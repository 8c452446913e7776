"""Which method, and why."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from booth.catalogue import describe_methods
from booth.cli.recommend import command_of
from booth.compare import recommend as recommending
from booth.compare.photo_facts import PhotoFacts, look_at, sharpness
from booth.compare.recommend import RULES, Answers, Recommendation, recommend, time_warning
from booth.core.errors import UsageError
from booth.data.photos import Photo, PhotoSet
from booth.registry import METHODS

FACTS = PhotoFacts(5, (), (), same_background=False)


@pytest.fixture(scope="module")
def methods(toy_base: Path) -> list[Any]:
    """Every method with its size on the tiny base, counted once."""
    return describe_methods(str(toy_base))


@pytest.fixture
def ask(toy_base: Path, methods: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recommending, "describe_methods", lambda base: methods)

    def run(facts: PhotoFacts = FACTS, **answers: object) -> Recommendation:
        wish = Answers(**answers)  # type: ignore[arg-type]
        return recommend(wish, facts, [Path("my photos")], "dog", str(toy_base), 10**6)

    return run


def test_every_rule_cites_its_source_and_knows_its_methods() -> None:
    for rule in RULES:
        assert re.match(r"\d{4}\.\d{4,5}", rule.source)
        assert rule.votes.keys() <= set(METHODS)
        assert rule.votes or rule.options


@pytest.mark.essential
def test_answers_decide_and_the_reasons_are_those_that_spoke_for_it(ask) -> None:
    full = ask(settings="plain", kind="person")
    assert full.method == "dreambooth"
    assert full.options == {"prior_weight": "1.0"}
    assert any("first of five in likeness" in sentence for sentence, _ in full.reasons)
    default = ask()
    assert default.method == "lora"
    assert not any(source.startswith("2309.14859") for _, source in default.reasons)  # it ranks LoRA behind in both
    assert any("64% of drawings" in sentence for sentence, _ in default.reasons)
    assert any("dreambooth" in sentence and "within noise" in sentence for sentence, _ in default.reasons)
    assert ask(kind="style").method == "lora"
    assert ask(detail="low", settings="plain").method == "textual_inversion"


def test_on_the_base_of_the_studies_they_decide(methods: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "describe_methods", lambda base: methods)
    for answers in (Answers(), Answers(detail="low"), Answers(concepts=10)):
        assert recommend(answers, FACTS, [Path("photos")], "dog", "embedded", 10**6).method == "lora"
    # What they leave within noise is decided by what is published.
    assert (
        recommend(Answers(settings="plain"), FACTS, [Path("photos")], "dog", "embedded", 10**6).method == "dreambooth"
    )


def test_what_does_not_fit_is_out_and_says_why(ask) -> None:
    small = ask(settings="plain", concepts=10, disk_bytes=5e6)
    assert small.method != "dreambooth"
    assert "10 concepts" in small.against["dreambooth"]
    tight = ask(settings="plain", memory_bytes=1_500_000)
    assert "Adam's moments" in tight.against["dreambooth"]
    with pytest.raises(UsageError, match="No method fits"):
        ask(memory_bytes=10)


def test_the_command_runs_as_printed(ask, tmp_path: Path, toy_base: Path) -> None:
    found = ask(PhotoFacts(2, ("a.png",), ("b.png repeats a.png.",), same_background=True), kind="person", layout=True)
    words = shlex.split(command_of(found))
    assert words[:5] == ["booth", "train", "my photos", "--class", "dog"]
    assert words[words.index("--crop") + 1] == "subject"
    assert words[words.index("--base") + 1] == str(toy_base)
    config = found.config
    assert (config.method, config.crop) == (found.method, "subject")
    from booth.config.settings import method_config

    assert method_config(config.method, "tiny", config.settings).prior_weight == 1.0
    told = " ".join(found.warnings)
    assert "2 photos are few" in told
    assert "a.png is soft" in told
    assert "b.png repeats" in told
    assert "pose or layout" in told


def test_too_little_time_is_told() -> None:
    assert time_warning(Answers(minutes=2), 119) is None
    assert "50%" in (time_warning(Answers(minutes=2), 240) or "")


def picture(seed: int, rim: tuple[int, int, int] | None = None) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).resize(
        (300, 300), Image.Resampling.NEAREST
    )
    if rim is None:
        return noise
    whole = Image.new("RGB", (300, 300), rim)
    whole.paste(noise.crop((80, 80, 220, 220)), (80, 80))
    return whole


def photo_set(*images: Image.Image) -> PhotoSet:
    photos = tuple(Photo(Path(f"{i}.png"), str(i), image) for i, image in enumerate(images))
    return PhotoSet(photos, "a list", duplicates=("twice.",))


def test_photos_are_measured() -> None:
    soft = picture(1).filter(ImageFilter.GaussianBlur(6))
    facts = look_at(photo_set(picture(0), soft, picture(2)))
    assert facts.blurred == ("1.png",)
    assert (facts.count, facts.duplicates, facts.same_background) == (3, ("twice.",), False)
    assert look_at(photo_set(*(picture(i, (240, 240, 240)) for i in range(3)))).same_background
    grounds = [(240, 20, 20), (20, 240, 20), (20, 20, 240)]
    assert not look_at(photo_set(*(picture(i, g) for i, g in enumerate(grounds)))).same_background


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """A chequerboard of single pixels, 0 and 10: the Laplacian is +40 or -40 everywhere."""
    board = (np.indices((256, 256)).sum(0) % 2 * 10).astype(np.uint8)
    assert sharpness(Image.fromarray(board)) == pytest.approx(1600, rel=1e-6)
    assert sharpness(Image.new("RGB", (300, 200), (9, 9, 9))) == 0


def test_the_projects_own_studies_speak_too(ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"joint": 1.0, "identity": 1.0, "seconds": 60.0, "subjects": 5, "alike": True}
    methods = {"lora": told | {"joint": 0.0, "alike": False}, "two_stage": told}
    (tmp_path / "measured.json").write_text(json.dumps({"source": "docs/studies/x.md", "methods": methods}))
    monkeypatch.setattr(recommending, "MEASURED", tmp_path / "measured.json")
    found = ask(settings="plain", detail="low", concepts=2)
    assert found.method == "textual_inversion"  # three quarters of a published vote against half of one
    monkeypatch.setattr(recommending, "OTHER_VOTE", 0.2)
    assert ask(settings="plain").method == "dreambooth"  # 1 against 0.75 + 0.2
    monkeypatch.setattr(recommending, "OTHER_VOTE", 0.6)
    high = ask(settings="plain")
    assert high.method == "two_stage"
    assert any(source == "docs/studies/x.md" and "100% of drawings" in s for s, source in high.reasons)


@pytest.mark.parametrize(("alike", "chosen"), [(True, "lora"), (False, "two_stage")])
def test_what_is_within_noise_of_the_best_counts_as_it_and_the_smaller_file_is_better(
    ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alike: bool, chosen: str
) -> None:
    told = {"joint": 1.0, "identity": 1.0, "seconds": 60.0, "subjects": 5, "alike": True}
    methods = {"lora": told | {"joint": 0.7, "alike": alike}, "two_stage": told}
    (tmp_path / "measured.json").write_text(json.dumps({"source": "docs/studies/x.md", "methods": methods}))
    monkeypatch.setattr(recommending, "MEASURED", tmp_path / "measured.json")
    found = ask()
    assert found.method == chosen
    assert any("two_stage did as well within noise" in sentence for sentence, _ in found.reasons) == alike
