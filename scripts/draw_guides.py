"""Run the commands of each guide and put its picture together: docs/guides/NAME.png.

    python scripts/draw_guides.py [NAME ...]

The first row of a picture is what the commands start from, the others are the contact sheets that they write.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "guides"
SIDE = 128  # pixels of a picture in the first row
GAP = 8


def commands(guide: Path) -> list[list[str]]:
    """The commands in the guide's shell blocks, in words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def install(words: list[str], site: Path) -> None:
    """Do as `pip install FOLDER` does, into a folder of packages of its own and from what is on this machine alone."""
    assert words[0] == "install"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", str(site), *words[1:]], check=True)


def run(words: list[str]) -> None:
    """Run `booth ...`, `python ...` or `pip ...` with this interpreter."""
    if words[0] == "pip":
        site = Path("site").absolute()
        install(words[1:], site)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        return
    program = ["-c", "from booth.cli.app import main; main()"] if words[0] == "booth" else []
    subprocess.run([sys.executable, *program, *words[1:]], check=True)


def values(words: list[str], *options: str) -> list[str]:
    """What follows any of the options."""
    return [value for name, value in pairwise(words) if name in options]


def picture(lines: list[list[str]]) -> Image.Image:
    """The pictures that the commands start from, above the sheets that they wrote."""
    starts = dict.fromkeys(file for words in lines for file in values(words, "--init", "--mask", "--control"))
    photos = [Path(folder) for words in lines if words[:2] == ["booth", "train"] for folder in words[2:3]]
    first = [sorted(folder.glob("*.png"))[0] for folder in photos] + [Path(file) for file in starts]
    drawn = [
        w for w in lines if "--sheet" in w or (w[:2] == ["booth", "augment"] and not {"prove", "--dry-run"} & {*w})
    ]
    sheets = [Image.open(Path(folder) / "sheet.png") for w in drawn for folder in values(w, "--out")]
    row = [Image.open(file).convert("RGB").resize((SIDE, SIDE)) for file in first]
    width = max(len(row) * (SIDE + GAP), *(sheet.width for sheet in sheets))
    top = SIDE + GAP if row else 0
    whole = Image.new("RGB", (width, top + sum(s.height + GAP for s in sheets)), "white")
    for i, start in enumerate(row):
        whole.paste(start, (i * (SIDE + GAP), 0))
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height + GAP
    return whole


def main() -> None:
    names = sys.argv[1:] or [p.stem for p in sorted(FOLDER.glob("*.md")) if p.stem != "README"]
    for name in names:
        lines = commands(FOLDER / f"{name}.md")
        with tempfile.TemporaryDirectory() as place:
            for folder in ("src", "docs", "examples"):
                os.symlink(ROOT / folder, Path(place) / folder)
            os.chdir(place)
            for words in lines:
                run(words)
            picture(lines).save(FOLDER / f"{name}.png", optimize=True)
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
