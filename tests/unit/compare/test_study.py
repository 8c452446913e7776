"""Studies on the toy base: runs are shared files, differences are paired by subject, a page tells what was done."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from booth.compare import study_attempt as studying
from booth.compare.experiment import Setting, Study, read_setting, read_study, run_file, runs_of
from booth.compare.study import run_studies
from booth.compare.study_page import EARLIER, read_figures, study_page
from booth.compare.study_sheets import write_sheets
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.data.photos import load_photos
from booth.evaluate import pictures
from booth.events import Event, Listener
from booth.families.loading import EMBEDDED, base_hash, resolve_base
from booth.registry import ENCODERS, METHODS
from thumbnails import Thumbnails

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ROOT / "experiments"
ARMS = """
base = "{base}"
prompts = ["a photo of {{}} in the snow", "a photo of {{}} on the beach"]
steps = 1
drift = 2
[arms.base]
[arms.lora]
method = "lora"
settings = {{ steps = 2 }}
[arms.lora-wrong-noun]
method = "lora"
noun = "wrong"
settings = {{ steps = 1 }}
"""
STUDY = """
title = "A title"
question = "Is it?"
expected = "It is."
would_change = "Much."
subjects = ["cat:1", "photos/five:dog"]
seeds = [0]
arms = ["base", "lora"]
columns = ["identity", "cmmd/class"]
pairs = [["lora", "base"]]
"""


@pytest.fixture(autouse=True)
def drawing_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Image.Image]:
        return [Image.new("RGB", (32, 32), (s % 256, 90, len(p) % 256)) for p, s in zip(prompts, seeds, strict=True)]

    monkeypatch.setattr(pictures, "draw", draw)


@pytest.fixture
def folder(toy_base: Path, five_photos: Path, tmp_path: Path) -> Path:
    (tmp_path / "arms.toml").write_text(ARMS.format(base=toy_base))
    (tmp_path / "one.toml").write_text(STUDY)
    (tmp_path / "two.toml").write_text(STUDY.replace('"base", "lora"]', '"lora", "lora-wrong-noun"]'))
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "five").symlink_to(five_photos)
    return tmp_path


class Count:
    """How many steps were taken."""

    steps = 0

    def __call__(self, event: Event) -> None:
        self.steps += event.kind == "step"


def run(
    folder: Path, *names: str, listeners: Sequence[Listener] = (), photographs: bool = True
) -> tuple[Setting, Study]:
    setting = read_setting(folder)
    studies = [read_study(folder / f"{name}.toml", setting) for name in names]
    run_studies(
        studies,
        setting,
        results=folder / "results",
        work=folder / "work",
        photographs=folder / "photographs" if photographs else None,
        device="cpu",
        listeners=listeners,
    )
    return setting, studies[0]


@pytest.mark.essential
def test_studies_share_runs_and_run_nothing_twice(folder: Path) -> None:
    count = Count()
    run(folder, "one", listeners=[count])
    assert count.steps == 4  # two subjects, two steps
    run(folder, "one", "two", listeners=[count])
    assert count.steps == 6  # the wrong noun alone was missing
    found = json.loads(run_file(folder / "results", "cat:1", "lora-wrong-noun", 0).read_text())
    assert found["status"] == "done"
    assert found["asked_noun"] not in ("cat", "thing")
    assert not any(name.startswith("cmmd") for name in found["metrics"]["5"])  # another class, another question
    assert not list(folder.glob("work/*/*/concept"))


LOOKED_AT = STUDY.replace('["identity"', '["subject_similarity/thumbnails", "subject_similarity"') + (
    'encoders = ["thumbnails"]\n'
)


class OnRequest(Thumbnails):
    """Used only where it is named."""

    stands_in = True


@pytest.fixture
def named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study that names an encoder."""
    monkeypatch.setitem(ENCODERS._entries, "thumbnails", OnRequest)
    file = folder / "named.toml"
    file.write_text(LOOKED_AT)
    return file


def test_an_encoder_that_a_study_names_looks_at_its_runs_beside_the_others(folder: Path, named: Path) -> None:
    setting, study = run(folder, "named")
    found = json.loads(run_file(folder / "results", "cat:1", "lora", 0).read_text())["metrics"]["5"]
    ours, theirs = found["subject_similarity/thumbnails"]["value"], found["subject_similarity/world-identity"]["value"]
    assert ours != theirs
    figures = read_figures(study, folder / "results")
    assert figures.of("lora", "subject_similarity/thumbnails", 5.0)["cat:1"] == ours
    assert figures.of("lora", "subject_similarity", 5.0)["cat:1"] == theirs  # the first is still the world's
    page = study_page(study, setting, folder / "results", folder / "pages")
    assert "| subject fidelity, by thumbnails ↑ | subject fidelity ↑ |" in page
    assert "Encoders: thumbnails, world-agreement, world-identity, world-judges." in page
    run(folder, "named", "one")  # which asks for less of the same runs


@pytest.mark.slow
def test_studies_of_one_command_that_share_a_run_have_all_their_encoders_look_at_it(folder: Path, named: Path) -> None:
    run(folder, "one", "named")
    with_both = json.loads(run_file(folder / "results", "cat:1", "lora", 0).read_text())["metrics"]["5"]
    assert "subject_similarity/thumbnails" in with_both


def test_a_run_that_a_named_encoder_has_not_seen_is_not_taken_for_one_that_it_has(folder: Path, named: Path) -> None:
    run(folder, "one")
    with pytest.raises(UsageError, match=r"base-0.json was made without thumbnails. Delete it"):
        run(folder, "named")


def test_a_study_whose_encoder_is_not_here_stops_before_the_work(
    folder: Path, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    named.write_text(LOOKED_AT.replace('["thumbnails"]', '["efficientnet-lite0"]'))
    with pytest.raises(NotAvailableError, match=r"booth\[imagenet\]"):
        run(folder, "named")
    assert not (folder / "results").exists()


def test_a_misspelt_encoder_is_named(folder: Path) -> None:
    (folder / "three.toml").write_text(STUDY + 'encoders = ["efficientnet"]\n')
    with pytest.raises(BadDataError, match=r"encoders that there are not: efficientnet\. There are world-judges"):
        read_study(folder / "three.toml", read_setting(folder))


def test_a_run_of_another_arm_is_not_taken_for_this_one(folder: Path) -> None:
    run(folder, "one")
    (folder / "arms.toml").write_text((folder / "arms.toml").read_text().replace("steps = 2", "steps = 3"))
    with pytest.raises(UsageError, match=r"lora-0.json was made with another arm. Delete it"):
        run(folder, "one")


def test_a_run_at_former_defaults_is_not_taken_for_one_at_todays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, "one")
    METHODS.usable()  # those that take over LoRA's defaults do so when they are loaded
    monkeypatch.setattr(METHODS["lora"], "tiny", METHODS["lora"].tiny | {"learning_rate": 0.5})
    with pytest.raises(UsageError, match=r"lora-0.json was made with another learning_rate of lora. Delete it"):
        run(folder, "one")


def test_photographs_need_a_place(folder: Path) -> None:
    with pytest.raises(UsageError, match="`photos`"):
        run(folder, "one", photographs=False)


@pytest.mark.essential
def test_a_failed_run_is_told_and_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teach = studying._teach

    def failing(*_: Any) -> Any:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(studying, "_teach", failing)
    setting, study = run(folder, "one")
    page = study_page(study, setting, folder / "results", folder / "pages")
    assert "Failed: `lora` on cat:1 with seed 0: RuntimeError: a wheel came off" in page
    monkeypatch.setattr(studying, "_teach", teach)
    run(folder, "one")
    assert "wheel" not in study_page(study, setting, folder / "results", folder / "pages")


def test_differences_are_paired_by_subject_over_the_means_of_seeds(folder: Path) -> None:
    setting = read_setting(folder)
    study = read_study(folder / "one.toml", setting)
    study = study.model_copy(update={"subjects": ["cat:1", "cat:2", "cat:3", "cat:4"], "seeds": [0, 1]})
    lora = {1: (0.5, 0.7), 2: (0.4, 0.6), 3: (0.9, 0.9), 4: (0.0,)}  # nobody else was taught the fourth
    values = {"lora": lora, "base": {1: (0.1,), 2: (0.1,), 3: (0.3,)}}
    about = {"status": "done", "device": "cpu", "threads": 1, "versions": {"torch": "2"}, "commit": "0" * 40}
    about |= {"base": "sha256:1"}
    for arm, subjects in values.items():
        for subject, several in subjects.items():
            for seed, value in enumerate(several):
                file = run_file(folder / "results", f"cat:{subject}", arm, seed)
                file.parent.mkdir(parents=True, exist_ok=True)
                metrics = {"5": {"identity/world-judges": {"value": value, "units": [value]}}}
                told = {"subject": f"cat:{subject}", "arm": {"name": arm}, "seed": seed, "metrics": metrics}
                file.write_text(json.dumps({**told, **about, "dirty": False}))
    figures = read_figures(study, folder / "results")
    assert figures.of("lora", "identity", 5.0) == pytest.approx({"cat:1": 0.6, "cat:2": 0.5, "cat:3": 0.9})
    found = figures.paired("lora", "base", "identity", 5.0)
    assert found is not None
    assert found.mean == pytest.approx((0.5 + 0.4 + 0.6) / 3)
    assert not found.is_noise
    page = study_page(study, setting, folder / "results", folder / "pages")
    assert "**+0.500 [+0.252, +0.748]**" in page
    assert "9 of 12 runs: 3 subjects, training seeds 0, 1" in page


def test_a_page_says_first_that_its_runs_are_of_an_earlier_base(folder: Path) -> None:
    setting = read_setting(folder).model_copy(update={"base": EMBEDDED})
    study = read_study(folder / "one.toml", setting).model_copy(update={"subjects": ["cat:1"], "seeds": [0, 1]})
    about = {"status": "done", "device": "cpu", "threads": 1, "versions": {"torch": "2"}, "commit": "0" * 40}

    def page(*bases: str) -> list[str]:
        for seed, base in enumerate(bases):
            file = run_file(folder / "results", "cat:1", "lora", seed)
            file.parent.mkdir(parents=True, exist_ok=True)
            told = {"subject": "cat:1", "arm": {"name": "lora"}, "seed": seed, "metrics": {}, "base": base}
            file.write_text(json.dumps({**told, **about, "dirty": False}))
        return study_page(study, setting, folder / "results", folder / "pages").split("\n\n")

    now = base_hash(resolve_base(EMBEDDED))
    assert page(now, now)[1].startswith("**Asked.**")
    assert page(now, "sha256:1")[1] == (
        "**Of an earlier base.** 1 of the 2 runs were measured on an embedded base that has been replaced since."
    )
    assert page("sha256:1", "sha256:1")[1].startswith("**Of an earlier base.** All of it was ")


def test_runs_on_an_earlier_base_stand_until_every_arm_was_run_again(folder: Path) -> None:
    study = read_study(folder / "one.toml", read_setting(folder)).model_copy(update={"subjects": ["cat:1"]})

    def write(results: Path, arm: str, value: float) -> None:
        file = run_file(results, "cat:1", arm, 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        metrics = {"5": {"identity/world-judges": {"value": value, "units": [value]}}}
        told = {"subject": "cat:1", "arm": {"name": arm}, "seed": 0, "status": "done", "metrics": metrics}
        file.write_text(json.dumps(told))

    results = folder / "results"
    for arm in ("base", "lora"):
        write(results / EARLIER, arm, 0.25)
    write(results, "lora", 0.75)
    assert [read_figures(study, results).of(arm, "identity", 5.0) for arm in ("base", "lora")] == [{"cat:1": 0.25}] * 2
    write(results, "base", 0.75)
    assert [read_figures(study, results).of(arm, "identity", 5.0) for arm in ("base", "lora")] == [{"cat:1": 0.75}] * 2


def test_sheets_show_the_photos_the_base_and_every_arm(folder: Path) -> None:
    (folder / "one.toml").write_text(STUDY + "sheets = true\n")
    setting, study = run(folder, "one")
    files = write_sheets(study, setting, folder / "work", folder / "pages" / "sheets")
    assert [f.name for f in files] == ["one-cat-1.jpg", "one-photos-five.jpg"]
    heights = [Image.open(f).height for f in files]
    assert heights[0] > heights[1]  # photographs lie elsewhere and are not shown again
    assert "![one-cat-1](sheets/one-cat-1.jpg)" in study_page(study, setting, folder / "results", folder / "pages")


def test_photos_of_one_scene_come_with_masks(folder: Path) -> None:
    text = STUDY.replace('"cat:1", "photos/five:dog"', '"cat:1@meadow"').replace('"base", "lora"', '"lora"')
    (folder / "one.toml").write_text(text)
    run(folder, "one")
    photos = load_photos([folder / "work" / "cat-1-meadow" / "photos"]).photos
    assert len(photos) == 5
    assert all(p.mask is not None for p in photos)


@pytest.mark.parametrize(
    ("subject", "wrong"),
    [
        ("dog", "no colon"),
        ("cat:x", "'x' is no number"),
        ("unicorn:3", "no unicorn"),
        ("cat:21@nowhere", "no scene called 'nowhere'"),
        ("photos/:dog", "no folder"),
    ],
)
def test_a_subject_that_cannot_be_is_named(folder: Path, subject: str, wrong: str) -> None:
    (folder / "three.toml").write_text(STUDY.replace("cat:1", subject))
    with pytest.raises(BadDataError, match=f"{subject}.*{wrong}.*cat:21@meadow"):
        read_study(folder / "three.toml", read_setting(folder))


def test_a_misspelt_column_is_named(folder: Path) -> None:
    (folder / "three.toml").write_text(STUDY.replace('"cmmd/class"', '"cmd/class", "steps"'))
    with pytest.raises(BadDataError, match=r"columns that no run has: cmd/class\. There are joint"):
        read_study(folder / "three.toml", read_setting(folder))


def test_an_unknown_arm_is_named(folder: Path) -> None:
    (folder / "three.toml").write_text(STUDY.replace('"lora"]\n', '"lore"]\n'))
    with pytest.raises(BadDataError, match=r"arms that arms.toml does not have: lore"):
        read_study(folder / "three.toml", read_setting(folder))


def test_what_is_no_study_is_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    setting = read_setting(folder)
    with pytest.raises(BadDataError, match=r"arms.toml is no study: title: Field required;.*base: Extra inputs"):
        read_study(folder / "arms.toml", setting)
    (folder / "torn.toml").write_text("title = ")
    with pytest.raises(BadDataError, match=r"torn.toml is not valid TOML"):
        read_study(folder / "torn.toml", setting)
    with pytest.raises(BadDataError, match=r"does not exist.*how each arm is taught"):
        read_setting(tmp_path / "elsewhere")


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda f: f.stem)
def test_the_projects_own_studies_can_be_run(file: Path) -> None:
    setting = read_setting(EXPERIMENTS)
    if file.name == "arms.toml":
        for arm in setting.arms.values():
            if arm.method is not None:
                METHODS[arm.method].Config(**METHODS[arm.method].defaults("tiny") | arm.settings)
        return
    study = read_study(file, setting)
    assert len(set(runs_of(study))) == len(list(runs_of(study)))
    page, results = ROOT / "docs" / "studies" / f"{file.stem}.md", ROOT / "results" / "studies"
    assert page.read_text(encoding="utf-8") == study_page(study, setting, results, page.parent)
