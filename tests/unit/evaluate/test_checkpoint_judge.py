"""The judge that a run asks between steps, on colours whose scores are known."""

from __future__ import annotations

from typing import Any

import pytest

from booth.core.method import Subject
from booth.evaluate import checkpoints
from booth.evaluate.checkpoints import CheckpointJudge
from planes import XXY, XY, Planes, X, Y, Z, plain

WORDS = {"jungle": (0, 0, 1), "snow": (0, 0, 1), "beach": (0, 0, 1), "fabric": (0, 0, 1)}


class Reader(Planes):
    """Every prompt asks for Z."""

    words = WORDS


@pytest.fixture
def easel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the next drawing shows, and what was asked for."""
    state: dict[str, Any] = {"asked": []}

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Any]:
        state["asked"].append((prompts, seeds))
        return state["next"]

    monkeypatch.setattr(checkpoints, "draw", draw)
    monkeypatch.setattr(checkpoints, "load_encoders", lambda scale: [Reader()])
    return state


class Model:
    scale = "tiny"


def judge(easel: dict[str, Any]) -> CheckpointJudge:
    """The photos are X and XY; the untouched base draws Z, which is what the prompts ask for, and a class of Y."""
    easel["next"] = [Z, Z, Z, Z, Y, Y]
    return CheckpointJudge(Model(), Subject("sks", "owl"), [X, XY], seed=3)  # type: ignore[arg-type]


def test_the_base_itself_has_learned_nothing_and_lost_nothing(easel: dict[str, Any]) -> None:
    marks = judge(easel).score()
    assert marks.scores == pytest.approx({"subject": 0, "prompt": 1, "original": 1, "class": 1})
    assert marks.units == [0.0] * 4


def test_each_score_goes_from_its_floor_to_its_ceiling(easel: dict[str, Any]) -> None:
    asked = judge(easel)
    # XZ: cosine with X is ROOT and with XY a half; the ceiling is the photos among themselves, ROOT
    root = 2**-0.5
    easel["next"] = [plain(255, 0, 255), X, Z, XXY, Y, XY]
    marks = asked.score()
    subject = [(root + 0.5) / 2 / root, 1.0, 0.0, 1.0]
    prompt = [root, 0.0, 1.0, 0.0]
    assert marks.scores["subject"] == pytest.approx(sum(subject) / 4, abs=1e-3)
    assert marks.scores["prompt"] == pytest.approx(sum(prompt) / 4, abs=1e-3)
    assert marks.scores["original"] == pytest.approx(0.5)  # X and XXY are nearer than the photos are to each other
    assert marks.scores["class"] == pytest.approx((1 + root) / 2)
    assert marks.units == pytest.approx([subject[0] * prompt[0] * (1 + root) / 2, 0, 0, 0], abs=1e-3)


def test_the_same_prompts_and_seeds_are_drawn_every_time(easel: dict[str, Any]) -> None:
    asked = judge(easel)
    asked.score()
    asked.score()
    base, first, second = easel["asked"]
    assert first == second
    assert base[1] == first[1]
    assert len(set(base[1])) == 6
    assert base[0][0] == "an owl in the jungle"
    assert first[0][0] == "a sks owl in the jungle"
    assert base[0][4:] == first[0][4:] == ["a photo of an owl"] * 2
    assert asked.about()["encoders"] == {"subject": "planes", "prompt": "planes", "class": "planes"}


def test_a_style_is_asked_for_behind_what_is_drawn_in_it(easel: dict[str, Any]) -> None:
    easel["next"] = [Z, Z, Z, Z, Y, Y]
    asked = CheckpointJudge(Model(), Subject("sks", "style", "style"), [X, XY], seed=3)  # type: ignore[arg-type]
    asked.score()
    base, taught = (prompts for prompts, _ in easel["asked"])
    assert (base[0], taught[0]) == ("a picture of a dog", "a picture of a dog in sks style")
    assert base[4:] == taught[4:] == ["a picture"] * 2
