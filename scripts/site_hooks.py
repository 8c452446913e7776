"""Hooks of MkDocs: the repository's own pages join those under docs/, and what a page links to comes along.

README.md becomes the first page; CONTRIBUTING, SECURITY and CHANGELOG follow. A link that leads out of docs/ to a file
is answered with a copy of the file, so that the site needs no other place; one that leads to a folder becomes text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation

ROOT = Path(__file__).parent.parent
OWN = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
OWN |= {"SECURITY.md": "security.md"}  # a page of the repository -> its name in the site
ORDER = ["Guides", "methods.md", "Reference", "Studies", "Decisions", "contributing.md", "security.md", "changelog.md"]
COPIES = "repository"  # the folder of the site that holds copies of linked files
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the repository's pages and the files that any page links to."""
    for name, page in OWN.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for source in (*(ROOT / name for name in OWN), *sorted((ROOT / "docs").rglob("*.md"))):
        for _, _, target, _ in LINK.findall(source.read_text(encoding="utf-8")):
            found = _repository_path(source.relative_to(ROOT).as_posix(), target)
            if found and found not in OWN and not found.startswith("docs/") and (ROOT / found).is_file():
                copy = File.generated(config, _copied(found), abs_src_path=str(ROOT / found))
                copy.inclusion = InclusionLevel.NOT_IN_NAV
                if copy.src_uri not in files.src_uris:
                    files.append(copy)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the repository's layout into links of the site's."""
    here = page.file.src_uri
    source = next((name for name, own in OWN.items() if own == here), f"docs/{here}")

    def of_site(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        found = _repository_path(source, target)
        if found is None:
            return match.group()
        if (ROOT / found).is_dir():
            return text
        if found in OWN:
            place = OWN[found]
        else:
            place = found.removeprefix("docs/") if found.startswith("docs/") else _copied(found)
        return f"{image}[{text}]({relpath(place, str(PurePosixPath(here).parent))}{anchor or ''})"

    return LINK.sub(of_site, markdown)


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Put guides before reference, and the repository's pages last."""

    def place(item: Any) -> int:
        name = item.file.src_uri if item.is_page else item.title
        return ORDER.index(name) if name in ORDER else -1

    nav.items.sort(key=place)
    return nav


def _repository_path(source: str, target: str) -> str | None:
    """Where a link of `source` leads in the repository; nothing for one that leads elsewhere."""
    if re.match(r"[a-z]+:", target):
        return None
    return normpath(str(PurePosixPath(source).parent / target))


def _copied(path: str) -> str:
    """Where the site keeps a file of the repository; sources as text, which browsers show."""
    return f"{COPIES}/{path}.txt" if path.endswith((".py", ".toml")) or "." not in path else f"{COPIES}/{path}"
