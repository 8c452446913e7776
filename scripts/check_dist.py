"""Whether what `make dist` built can be published: complete, and within the package index's limits.

python scripts/check_dist.py dist

Needs the standard library and git alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT = 100_000_000  # bytes of a file that the index takes; it says 100 MB and means MiB
CODE_LIMIT = 5_000_000  # bytes of the wheel without its weights
WEIGHTS = ".safetensors"


def tracked() -> set[str]:
    """The package's files under version control, as the wheel should hold them."""
    listed = subprocess.run(["git", "ls-files", "src/booth"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.removeprefix("src/") for name in listed.stdout.splitlines()}


def problems_of_wheel(wheel: Path, expected: set[str]) -> tuple[list[str], str]:
    """What is wrong with a wheel, and its sizes in words."""
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry.compress_size for entry in archive.infolist()}
    held = {name for name in entries if name.startswith("booth/")}
    code = sum(size for name, size in entries.items() if not name.endswith(WEIGHTS))
    whole = wheel.stat().st_size
    told = [f"{wheel.name} lacks {name}" for name in sorted(expected - held)]
    told += [f"{wheel.name} holds {name}, which is not under version control" for name in sorted(held - expected)]
    told += _too_large(wheel)
    if code > CODE_LIMIT:
        told.append(f"{wheel.name} has {code / 1e6:.1f} MB without its weights; {CODE_LIMIT / 1e6:.0f} are meant")
    return told, f"{wheel.name}: {whole / 1e6:.2f} MB, {code / 1e6:.2f} MB without its weights"


def problems_of_sdist(sdist: Path, expected: set[str]) -> tuple[list[str], str]:
    """What is wrong with a source distribution, and its size in words."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {f"src/{name}" for name in expected} | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    told = [f"{sdist.name} lacks {name}" for name in sorted(needed - held)] + _too_large(sdist)
    return told, f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB"


def _too_large(file: Path) -> list[str]:
    size = file.stat().st_size
    return [f"{file.name} has {size / 1e6:.1f} MB; the index takes {LIMIT / 1e6:.0f}"] if size > LIMIT else []


def main() -> None:
    """Print the sizes, and what is wrong with 1 as the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        sys.exit(f"{folder} should hold one wheel and one source distribution; run `make dist`.")
    expected = tracked()
    told = []
    for found, sizes in (problems_of_wheel(wheels[0], expected), problems_of_sdist(sdists[0], expected)):
        print(sizes)
        told += found
    if told:
        sys.exit("\n".join(told))


if __name__ == "__main__":
    main()
