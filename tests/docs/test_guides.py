"""The guides are true: every command of each runs as it stands on the embedded base, only with fewer steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from script_files import load
from typer.testing import CliRunner

import booth.core.registry as registries
from booth.cli.app import app
from harness import slow

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "guides"
FEW = {  # what makes a command quick
    "train": ["--steps", "2"],
    "generate": ["--steps", "2"],
    "world labelled": ["--few", "4", "--many", "4", "--test", "2"],
    "augment prove": [
        "--steps",
        "2",
        "--seeds",
        "1",
        "--ratios",
        "0.5",
        "--filters",
        "none",
        "--classifier",
        "resnet10",
    ],
    "augment": ["--per-class", "1", "--steps", "2", "--set", "steps=2", "--filter", "none"],
}
IN_A_BROWSER = "studio.md"  # its way is gone in tests/browser
GUIDES = sorted(p.name for p in FOLDER.glob("*.md") if p.name not in ("README.md", IN_A_BROWSER))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone's root."""
    for folder in ("src", "docs", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Lets this process, and those that it starts, find the packages in a folder, and forgets them afterwards."""
    before = set(sys.modules)

    def find(site: Path) -> None:
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT / "src")]))
        registries.installed.cache_clear()

    yield find
    monkeypatch.undo()
    registries.installed.cache_clear()
    for module in [m for m in sys.modules.keys() - before if m.startswith("booth_example")]:
        del sys.modules[module]


LONG = {"into-a-photo.md", "replace-or-remove.md", "restyle.md", "try-on.md"}


def test_there_are_guides() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted([*GUIDES, IN_A_BROWSER])


@pytest.mark.essential
@pytest.mark.parametrize("guide", [slow(guide) if guide in LONG else guide for guide in GUIDES])
def test_every_command_of_a_guide_runs(guide: str, place: Path, plugged: Callable[[Path], None]) -> None:
    for program, *arguments in load("draw_guides").commands(FOLDER / guide):
        if program == "booth":
            arguments += next((few for words, few in FEW.items() if " ".join(arguments).startswith(words)), [])
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{arguments}\n{result.output}\n{result.stderr}"
        elif program == "pip":
            load("draw_guides").install(arguments, place / "site")
            plugged(place / "site")
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


def test_the_guide_of_plugins_shows_the_example_as_it_is() -> None:
    """Every block of code in it stands so in a file of the example package."""
    text = (FOLDER / "plug-ins.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:python|toml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    sources = (f for f in (ROOT / "examples" / "plugin").rglob("*") if f.suffix in {".py", ".toml"})
    files = [f.read_text(encoding="utf-8") for f in sources]
    assert len(blocks) == 3
    for block in blocks:
        assert any(block in file for file in files), block
