"""The guides are true: every command of each runs as it stands on the embedded base, only with fewer steps."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from script_files import load
from typer.testing import CliRunner

from booth.cli.app import app
from booth.generate.draw import draw
from booth.train import samples

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "guides"
GUIDES = sorted(p.name for p in FOLDER.glob("*.md") if p.name != "README.md")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone's root."""
    for folder in ("src", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(samples, "draw", partial(draw, steps=2))  # samples
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_there_are_guides() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == GUIDES


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_runs(guide: str, place: Path) -> None:
    for program, *arguments in load("draw_guides").commands(FOLDER / guide):
        if program == "booth":
            if arguments[0] in ("train", "generate"):
                arguments += ["--steps", "2"]
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{arguments}\n{result.output}\n{result.stderr}"
        else:
            assert program == "python"
            subprocess.run([sys.executable, *arguments], check=True)
    assert list(place.glob("*/sheet.png")), "a guide ends with pictures to look at"


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_shows_the_pictures_that_it_makes(guide: str) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([\w-]+\.png)\)", (FOLDER / guide).read_text(encoding="utf-8"))
    assert shown
    for file in shown:
        with Image.open(FOLDER / file) as image:
            image.load()
            assert min(image.size) >= 64
