"""The pages join to a site that needs nothing from elsewhere, and what stands in them in code is code."""

from __future__ import annotations

import ast
import json
import logging
import re
import shlex
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from click import Command, Context
from typer.main import get_command

from booth.cli.app import app
from booth.cli.default_verb import DefaultVerb

ROOT = Path(__file__).parent.parent.parent
OWN = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
PAGES = [*OWN, *(p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").rglob("*.md")))]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Links(HTMLParser):
    """What a page loads, where its links lead, and the names in it that a link may lead to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.followed: set[str] = set()
        self.names: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADED and (target := given.get(LOADED[tag])):
            self.loaded.add(target)
        if tag == "a" and (target := given.get("href")):
            self.followed.add(target)
        self.names |= {name for key in ("id", "name") if (name := given.get(key))}


def build(config_file: Path, out: Path) -> None:
    pytest.importorskip("material", reason="the site needs mkdocs-material, which `make setup` installs")
    from mkdocs.commands.build import build as write
    from mkdocs.config import load_config

    config = load_config(str(config_file), site_dir=str(out))
    config.plugins.on_startup(command="build", dirty=False)
    write(config)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build(ROOT / "mkdocs.yml", out)
    return out


@pytest.mark.essential
def test_every_page_is_in_the_site_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {p.relative_to(site).as_posix(): Links(p) for p in site.rglob("*.html")}
    assert len(pages) == len(PAGES) + 1, "each page, and one for what is not found"
    for name, page in pages.items():
        for target in page.loaded:
            assert not re.match(r"(https?:)?//", target), f"{name} loads {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {p: Links(p) for p in site.rglob("*.html") if p.name != "404.html"}
    for page, links in pages.items():
        for target in links.followed | links.loaded:
            if re.match(r"[a-z]+:|//", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / unquote(path)).resolve() if path not in ("", ".") else page
            assert file.is_file(), f"{page.relative_to(site)} links to {target}"
            if anchor and file in pages:
                assert unquote(anchor) in pages[file].names, f"{page.relative_to(site)} links to {target}"


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material")
    from mkdocs.exceptions import Abort

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](b.md)\n")
    kept = [
        line for line in (ROOT / "mkdocs.yml").read_text().splitlines() if not line.startswith(("hooks", "site_dir"))
    ]
    (tmp_path / "mkdocs.yml").write_text("\n".join(kept))
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
    with pytest.raises(Abort):
        build(tmp_path / "mkdocs.yml", tmp_path / "out")


def blocks(page: str) -> list[tuple[str, str]]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```([\w-]*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_are_code(page: str) -> None:
    for language, text in blocks(page):
        if language == "python":
            ast.parse(text)
        elif language == "json":
            json.loads(text)
        elif language == "toml":
            tomllib.loads(text)
        elif language in ("sh", "bash"):
            done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
            assert done.returncode == 0, f"{text}\n{done.stderr}"
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["booth"]:
                    check_command(words[1:])


def check_command(words: list[str]) -> None:
    """The verb exists and takes the options that are shown; nothing is run."""
    command: Command = get_command(app)
    while (commands := getattr(command, "commands", None)) and words and not words[0].startswith("-"):
        if isinstance(command, DefaultVerb) and words[0] not in commands:
            words = [command.default, *words]
        assert words[0] in commands, f"booth has no {words[0]}"
        command, words = commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= set(command.get_help_option_names(Context(command)))
    shown = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert shown <= known, f"booth {command.name} has no {sorted(shown - known)}"
