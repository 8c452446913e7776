"""What is loaded while several subjects are drawn."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from booth.core.method import Subject
from booth.evaluate import multi_concept, pictures
from booth.evaluate.multi_concept import ConceptInUse, all_of, draw_together
from booth.evaluate.protocol import Protocol
from booth.generate.concepts import Applied

PROTOCOL = Protocol(("a {} in the snow", "a red {}"), "file", (0, 1), steps=1)
TINY = SimpleNamespace(scale="tiny", sampler="ddim")
DOG, CAT = Subject("sks", "dog"), Subject("zwx", "cat")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(names of the loaded concepts, prompt) of each picture that is drawn."""
    loaded: list[str] = []
    drawn: list[tuple[str, str]] = []

    @contextmanager
    def attached(model: Any, applied: Sequence[Applied]) -> Generator[None]:
        assert not loaded
        loaded.extend(a.concept.record.created for a in applied)
        yield
        loaded.clear()

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Image.Image]:
        drawn.extend(("+".join(loaded), prompt) for prompt in prompts)
        return [Image.new("RGB", (32, 32)) for _ in prompts]

    monkeypatch.setattr(multi_concept, "attached", attached)
    monkeypatch.setattr(pictures, "draw", draw)
    return drawn


def member(name: str, *subjects: Subject) -> ConceptInUse:
    record = SimpleNamespace(created=name, sizes={}, seed=0)
    return ConceptInUse(Applied(SimpleNamespace(record=record)), subjects, [[]] * len(subjects))  # type: ignore[arg-type]


def test_each_is_drawn_by_the_base_alone_and_loaded(seen: list[tuple[str, str]], tmp_path: Path) -> None:
    members = [member("one", DOG), member("two", CAT)]
    shared, together = draw_together(TINY, "sha256:1", members, PROTOCOL, tmp_path)  # type: ignore[arg-type]
    snow = [(who, prompt) for who, prompt in dict.fromkeys(seen) if "snow" in prompt]
    assert snow == [
        ("", "a sks dog in the snow"),
        ("", "a zwx cat in the snow"),
        ("one", "a sks dog in the snow"),
        ("two", "a zwx cat in the snow"),
        ("one+two", "a sks dog in the snow"),
        ("one+two", "a zwx cat in the snow"),
        ("one+two", "a sks dog and a zwx cat in the snow"),
    ]
    assert len(seen) == 7 * 4
    assert [s.subject for s in shared] == [DOG, CAT]
    assert [(d.plain, d.seed) for d in shared[1].alone[:2]] == [("a cat in the snow", 0), ("a cat in the snow", 1)]
    assert [d.prompt for d in together[::2]] == ["a sks dog and a zwx cat in the snow", "a red sks dog and a zwx cat"]
    draw_together(TINY, "sha256:1", members, PROTOCOL, tmp_path)  # type: ignore[arg-type]
    assert len(seen) == 7 * 4  # found again


def test_what_was_taught_in_one_run_is_never_alone(seen: list[tuple[str, str]], tmp_path: Path) -> None:
    shared, _ = draw_together(TINY, "", [member("one", DOG, CAT)], PROTOCOL, tmp_path)  # type: ignore[arg-type]
    assert [list(s.alone) for s in shared] == [[], []]
    assert {who for who, _ in seen} == {"", "one"}


def test_all_subjects_are_named_in_one_prompt() -> None:
    assert all_of([DOG, CAT, Subject("ohwx", "car")]).name == "sks dog, a zwx cat and a ohwx car"
    assert len(Protocol(tuple(f"{i} {{}}" for i in range(25)), "x", (0,)).few().templates) == 6
