"""Write requirements.lock, what users get, and requirements-dev.lock, what `make setup` and CI get.

Every package has one version for each Python and system that booth supports, with the hashes of its files:

    python scripts/write_lock.py             # keeps the versions that are there where it can
    python scripts/write_lock.py --upgrade   # takes the newest

A test fails while a lock does not cover pyproject.toml.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
USERS, DEVELOPERS = "requirements.lock", "requirements-dev.lock"
HEADER = "# Written by `make lock` from pyproject.toml. Install: pip install --require-hashes -r {name}\n"
COMPILE = [
    "uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
    "--no-annotate", "--no-header", "--no-config", "--no-emit-index-url", "--no-emit-find-links", "--output-file",
]  # fmt: skip


def write(name: str, *options: str) -> None:
    """Compile one lock, and put over it how it is used."""
    done = subprocess.run([sys.executable, "-m", *COMPILE, name, *options], cwd=ROOT)
    if done.returncode:
        sys.exit(f"{name} stays as it was: the versions in pyproject.toml cannot be had together, as said above.")
    file = ROOT / name
    file.write_text(HEADER.format(name=name) + file.read_text(encoding="utf-8"), encoding="utf-8")


def main() -> None:
    """Write both; the second holds the versions of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    newest = ["--upgrade"] if parser.parse_args().upgrade else []
    write(USERS, *newest)
    write(DEVELOPERS, "--all-extras", "--constraint", USERS, *newest)


if __name__ == "__main__":
    main()
