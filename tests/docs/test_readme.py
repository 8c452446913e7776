"""The README is true: its commands run, its loop is the loop, its tree is the tree, its links lead somewhere."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import booth
from booth.cli.app import app
from booth.families import loading
from booth.registry import METHODS
from booth.train.loop import losses

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def commands(program: str) -> list[str]:
    """Commands of a program in the shell blocks and, for booth, in the prose too."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    inline = re.findall(r"`(booth (?:train|generate) [^`]+)`", README)
    return [line for line in [*lines, *inline] if line.startswith(program + " ")]


@pytest.fixture
def place(tmp_path: Path, toy_base: Path, photos_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos`, a kohya.toml and the clone's experiments; its embedded base is a toy, steps are two."""
    here = tmp_path / "here"
    here.mkdir()
    shutil.copytree(photos_folder, here / "photos")
    (here / "kohya.toml").write_text('network_module = "networks.lora"\ntrain_data_dir = "photos"\n')
    (here / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(here)
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "EMBEDDED_FOLDER", toy_base)
    METHODS.usable()  # those that take over LoRA's defaults do so when they are loaded
    monkeypatch.setattr(METHODS["lora"], "tiny", {"steps": 2})
    monkeypatch.setattr("booth.cli.compare.QUICK_STEPS", 2)
    return here


@pytest.mark.essential
def test_every_booth_command_runs_as_it_stands(place: Path) -> None:
    run = commands("booth")
    assert len(run) >= 6
    booth.train("photos", "cat", token="zwx", out="concepts/tom")  # the second concept that the prose draws beside
    for line in run:
        if line.startswith("booth evaluate"):
            line += " --any-class"  # the photos here are noise
        if line.startswith(("booth prompt-card", "booth generate")):
            line += " --steps 1"
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.stderr}"
    assert (place / "pictures" / "sheet.png").is_file()
    assert (place / "concepts" / "rex" / "pytorch_lora_weights.safetensors").is_file()


@pytest.mark.essential
def test_the_python_lines_run_as_they_stand(place: Path) -> None:
    (code,) = [block for block in blocks("python") if "import booth" in block]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["pictures"]) == 4


@pytest.mark.essential
def test_the_page_for_python_runs_as_it_stands(place: Path) -> None:
    """Its 400 steps are two here, as if a run ended early."""
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    code = "\n".join(shown).replace("steps=400", "steps=3").replace("steps=60", "steps=2")
    names: dict = {}
    exec(compile(code, "python.md", "exec"), names)
    assert len(names["pictures"]) == 2
    assert len(names["losses"]) == 2
    assert names["session"].loads == 1
    assert (place / "evaluations" / "rex" / "report.html").is_file()
    assert set(names["result"]["methods"]) == {"lora"}


def test_the_loop_shown_is_the_loop() -> None:
    (shown,) = [block for block in blocks("python") if "def losses" in block]
    source = [line for line in inspect.getsource(losses).splitlines() if '"""' not in line]
    assert shown.splitlines() == source


@pytest.mark.parametrize("target", ["demo", "test", "coverage", "site", "lock", "dist"])
def test_the_makefile_has_the_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_make_commands_in_the_pages_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {t for page in PAGES for t in re.findall(r"^make (\w+)", (ROOT / page).read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_ci_runs_the_readme_s_test_command() -> None:
    assert 'make "${CI_TARGET:-test}"' in (ROOT / ".ci" / "run").read_text()
    assert "make test" in README


def test_the_tree_shows_what_is_there() -> None:
    (tree,) = [block for block in blocks("") if block.startswith("src/booth/")]
    shown = {line.split()[0] for line in tree.splitlines() if line.startswith("  ")}
    assert all((ROOT / "src" / "booth" / name).exists() for name in shown)
    rooms = {f"{p.name}/" for p in (ROOT / "src" / "booth").iterdir() if (p / "__init__.py").is_file()}
    assert rooms <= shown


def test_the_python_floor_is_the_package_s() -> None:
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"Python {floor.removeprefix('>=')}" in README


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target
