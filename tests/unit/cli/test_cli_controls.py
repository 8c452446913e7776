"""A ControlNet from the command line: train it, make a hint, draw."""

from pathlib import Path

import pytest
from told import last_object

from booth.concept import Concept


def test_from_pictures_to_a_drawing_that_follows_a_hint(booth_cli, toy_base: Path, five_photos: Path) -> None:
    options = ["--set", "control=scribble", "--set", "batch_size=1", "--steps", 1, "--base", toy_base]
    trained = booth_cli("train", five_photos, "--method", "controlnet", *options)
    assert trained.exit_code == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].endswith("concepts/scribble-controlnet")
    assert "Hints: scribble, made from the pictures." in trained.stderr
    assert '"PROMPT" --control HINT' in trained.stderr
    concept = Concept.load("concepts/scribble-controlnet")
    assert concept.record.settings["caption_dropout"] == 0.5

    made = booth_cli("hint", five_photos / "0.png", "--type", "scribble", "--json")
    assert last_object(made) == {"type": "scribble", "hints": ["hints/0.png"]}
    words = ["generate", concept.folder, "a dog", "--steps", 1, "--control", "hints/0.png"]
    drawn = booth_cli(*words, "--control-type", "scribble")
    assert drawn.exit_code == 0, drawn.stderr
    assert drawn.stdout == "pictures/a-dog-0.png\n"
    assert "resized to 32x32" in drawn.stderr
    assert "does not name the subject" not in drawn.stderr

    wrong = booth_cli(*words, "--control-type", "depth")
    assert (wrong.exit_code, "trained to follow scribble" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--set", "control=pose"], 2, "'pose' is no control that makes one"),
        (["--set", "prior_weight=1"], 2, "the base is locked"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    booth_cli, toy_base: Path, five_photos: Path, words: list[str], code: int, told: str
) -> None:
    result = booth_cli("train", five_photos, "--method", "controlnet", "--base", toy_base, *words)
    assert (result.exit_code, told in result.stderr) == (code, True)
    assert not Path("concepts").exists()
