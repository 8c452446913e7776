"""Prompts, seeds and what is drawn once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from booth.core.errors import BadDataError, UsageError
from booth.core.method import Subject
from booth.evaluate import pictures
from booth.evaluate.pictures import kept, kept_for_all
from booth.evaluate.protocol import FOLDER, SUITES, Protocol, make_protocol, paired_prompts, read_templates


@pytest.mark.parametrize("suite", SUITES)
def test_dreambooths_prompts_ship_with_the_package(suite: str) -> None:
    templates = read_templates(FOLDER / f"{suite}.txt")
    assert len(set(templates)) == 25
    assert templates[0] == "a {} in the jungle"
    assert templates[-1] == "a cube shaped {}"
    kinds = {"wearing": sum("wearing" in t or "outfit" in t for t in templates)}
    assert kinds["wearing"] == (10 if suite == "live" else 0)


def test_the_protocol_is_twenty_five_prompts_at_four_seeds() -> None:
    rows = make_protocol("dog").rows(Subject("sks", "dog"))
    assert len(rows) == 100
    assert rows[0] == ("a sks dog in the jungle", "a dog in the jungle", 0)
    assert [seed for *_, seed in rows[:5]] == [0, 1, 2, 3, 0]
    assert make_protocol("dog").suite == "live"
    assert make_protocol("teapot").suite == "objects"
    assert make_protocol("dog", suite="objects").suite == "objects"
    assert make_protocol("owl").rows(Subject("sks", "owl"))[0][1] == "an owl in the jungle"


def test_the_quick_version_keeps_every_kind_of_prompt() -> None:
    quick = make_protocol("dog", quick=True)
    assert len(quick.templates) == 6
    assert any("outfit" in t or "wearing" in t for t in quick.templates)
    assert any("in the" in t or "on " in t for t in quick.templates)
    assert len(quick.rows(Subject("sks", "dog"))) == 12


def test_unrelated_prompts_leave_the_class_out() -> None:
    prompts = {p for p, _ in make_protocol("dog").unrelated_rows(Subject("sks", "dog"))}
    assert prompts
    assert not any("dog" in p for p in prompts)
    assert any("dog" in p for p, _ in make_protocol("cat").unrelated_rows(Subject("sks", "cat")))
    assert {p for p, _ in make_protocol("owl").class_rows(Subject("sks", "owl"))} == {"a photo of an owl"}


def test_a_noun_that_the_prompts_begin_with_leaves_some_of_them() -> None:
    assert len(make_protocol("photo").unrelated_rows(Subject("sks", "photo"))) == 48


def test_the_suite_does_not_depend_on_capitals() -> None:
    assert make_protocol("Dog").suite == make_protocol("WOMAN").suite == "live"


def test_a_style_is_drawn_as_it_was_taught() -> None:
    style = Subject("sks", "style", "style")
    protocol = make_protocol("style", kind="style")
    rows = protocol.rows(style)
    assert (len(rows), protocol.suite) == (100, "styles")
    assert rows[0] == ("a picture of a dog in sks style", "a picture of a dog", 0)
    assert not any("sks" in plain or "style" in plain for _, plain, _ in rows)
    assert {p for p, _ in protocol.class_rows(style)} == {"a picture"}
    assert len({p for p, _ in protocol.unrelated_rows(style)}) == 16
    own = ["a cat, in the {}", "in {}", "{} painting of a cat"]
    assert [plain for _, plain in paired_prompts(own, style)] == ["a cat", "a picture", "style painting of a cat"]
    with pytest.raises(UsageError, match="own prompts"):
        make_protocol("style", kind="style", suite="live")


def test_a_prompt_without_a_place_for_the_subject_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("# mine\n{} asleep\na dog on the moon\n")
    with pytest.raises(BadDataError, match=r"'a dog on the moon' has no \{\}.*photo of \{\}"):
        make_protocol("dog", prompts=file)
    file.write_text("{} asleep\n")
    assert make_protocol("dog", prompts=file, seeds=[7]).rows(Subject("sks", "dog")) == [
        ("sks dog asleep", "dog asleep", 7)
    ]


def test_wrong_words_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="objects and live"):
        make_protocol("dog", suite="people")
    with pytest.raises(UsageError, match="`seeds`"):
        make_protocol("dog", seeds=[])


def test_what_a_bare_base_draws_is_shared_by_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    drawn: list[list[str]] = []

    def draw(model: object, prompts: list[str], seeds: list[int], **_: object) -> list[Image.Image]:
        drawn.append(prompts)
        return [Image.new("RGB", (64, 64), (seed, 0, 0)) for seed in seeds]

    monkeypatch.setattr(pictures, "draw", draw)
    protocol, rows = Protocol(("{}",), "file", (0,)), [("a", 1), ("b", 2)]
    model = SimpleNamespace(
        scale="tiny", sampler="ddim", resolution=64, components=lambda: {"unet": torch.nn.Linear(1, 1)}
    )
    first = kept_for_all(tmp_path / "race", {"base": "x"}, model, rows, protocol)
    second = kept_for_all(tmp_path / "evaluation", {"base": "x"}, model, rows, protocol)
    assert [i.tobytes() for i in first] == [i.tobytes() for i in second]
    assert (tmp_path / "evaluation" / "00001.png").is_file()
    assert len(drawn) == 1
    kept_for_all(tmp_path / "other", {"base": "x"}, SimpleNamespace(**vars(model) | {"resolution": 32}), rows, protocol)
    assert len(drawn) == 2
    (entry, _) = sorted((tmp_path / "cache" / "untouched").iterdir(), key=lambda p: p.stat().st_mtime)
    (entry / "00000.png").write_bytes(b"damaged")
    kept_for_all(tmp_path / "third", {"base": "x"}, model, rows, protocol)
    assert len(drawn) == 3


def test_pictures_are_drawn_once_and_again_when_anything_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []

    def draw(model: object, prompts: list[str], seeds: list[int], **_: object) -> list[Image.Image]:
        drawn.append(prompts)
        return [Image.new("RGB", (64, 64), (seed, 0, 0)) for seed in seeds]

    monkeypatch.setattr(pictures, "draw", draw)
    protocol, rows = Protocol(("{}",), "file", (0,)), [("a", 1), ("b", 2)]
    model = SimpleNamespace(scale="tiny", sampler="ddim")
    first = kept(tmp_path / "p", {"base": "x"}, model, rows, protocol)
    again = kept(tmp_path / "p", {"base": "x"}, model, rows, protocol)
    assert [i.tobytes() for i in first] == [i.tobytes() for i in again]
    assert len(drawn) == 1
    kept(tmp_path / "p", {"base": "y"}, model, rows, protocol)
    kept(tmp_path / "p", {"base": "y"}, model, rows[:1], protocol)
    assert len(drawn) == 3
    (tmp_path / "p" / "00000.png").write_bytes(b"damaged")
    assert kept(tmp_path / "p", {"base": "y"}, model, rows[:1], protocol)[0].tobytes() == first[0].tobytes()
    assert len(drawn) == 4
    kept(tmp_path / "p", {"base": "y"}, model, rows[:1], replace(protocol, scheduler="ddim"))  # the model's own
    assert len(drawn) == 4
    kept(tmp_path / "p", {"base": "y"}, model, rows[:1], replace(protocol, scheduler="euler-a"))
    assert len(drawn) == 5
