"""Whether a version may be published: its tag, booth.__version__ and CHANGELOG.md name the same.

python scripts/check_release.py --tag v0.2.0            # before a release is built
python scripts/check_release.py --tag v0.2.0 --notes    # what the changelog says of it
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)
SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")


def version_of(init: str) -> str:
    """The version that the text of booth/__init__.py sets."""
    found = VERSION.search(init)
    if found is None:
        raise SystemExit("src/booth/__init__.py sets no __version__.")
    return found.group(1)


def sections(changelog: str) -> dict[str, tuple[str | None, str]]:
    """What the changelog says of each version: its date, if it was released, and its text."""
    found = list(HEADING.finditer(changelog))
    ends = [match.start() for match in found[1:]] + [len(changelog)]
    return {m["version"]: (m["date"], changelog[m.end() : end].strip()) for m, end in zip(found, ends, strict=True)}


def problems(tag: str, version: str, changelog: str) -> list[str]:
    """What keeps the tag from being published."""
    told = []
    if not SEMANTIC.fullmatch(version):
        told.append(f"{version} is no semantic version, such as 1.2.3.")
    if tag != f"v{version}":
        told.append(f"The tag is {tag} and booth.__version__ is {version}: tag v{version}, or change the version.")
    date, text = sections(changelog).get(version, (None, ""))
    if date is None or not text:
        told.append(
            f"CHANGELOG.md says nothing of {version}: write ## [{version}] - YEAR-MONTH-DAY over what it brings."
        )
    return told


def main() -> None:
    """Print the notes, or what is wrong, with 1 as the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--notes", action="store_true")
    options = parser.parse_args()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = version_of((ROOT / "src" / "booth" / "__init__.py").read_text(encoding="utf-8"))
    told = problems(options.tag, version, changelog)
    if told:
        sys.exit("\n".join(told))
    if options.notes:
        print(sections(changelog)[version][1])


if __name__ == "__main__":
    main()
