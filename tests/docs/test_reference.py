"""What is written from the code is as the code is."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from script_files import load

from booth.core import registry as registries

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.xdist_group("reference")  # the pages are written once

PAGES = ["exit-codes.md", "error-codes.md", "methods.md", "settings.md", "proof.md", "command-line.md"]
BY_HAND = [
    "cases.md",
    "exports.md",
    "fleet.md",
    "inputs.md",
    "python.md",
    "reliability.md",
    "run-folder.md",
    "several-gpus.md",
    "speed.md",
    "threat-model.md",
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    registries.installed.cache_clear()  # of packages that another test had on the path for a while
    return load("write_reference")


@pytest.fixture(scope="module")
def pages(script: ModuleType) -> dict[str, str]:
    """Every page that is written from the code, by its name."""
    return script.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(pages: dict[str, str], name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text(encoding="utf-8") == pages[name], "run `make docs`"


def test_the_settings_that_are_checked_early_are_current(script: ModuleType) -> None:
    file = ROOT / "src" / "booth" / "assets" / "settings.json"
    assert file.read_text(encoding="utf-8") == script.settings_file(), "run `make docs`"


def test_the_readme_s_table_is_current(script: ModuleType) -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8") == script.readme(), "run `make docs`"


def test_all_pages_are_there_and_no_other(pages: dict[str, str]) -> None:
    assert sorted(pages) == sorted(PAGES)
    assert sorted(p.name for p in (ROOT / "docs" / "reference").iterdir()) == sorted([*PAGES, *BY_HAND])


def test_the_methods_page_and_its_diagrams_are_current() -> None:
    for name, text in load("write_methods").pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"
