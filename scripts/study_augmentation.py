"""The study of docs/studies/augmentation.md on a part of HAM10000: five classes, 10 and 25 real pictures of the scarce.

    python scripts/study_augmentation.py HAM10000 OUT [--reduced | --small]

HAM10000 is a folder with its metadata (image, label or dx, lesion_id) and pictures below it. Nothing is written
there, and nothing that is made of its pictures is for the repository: they are CC BY-NC 4.0. The same command goes on
with what is not done. --reduced is one method, one strength and one filter, for two cores and an evening. --small is a
few steps of everything, to see that it works.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from booth.augment.readers import read_set

CLASSES = ("akiec", "bcc", "df", "nv", "vasc")
SCARCE = ("df", "vasc")
SHOTS = (10, 25)
NOUN, LICENCE = "skin lesion", "CC BY-NC 4.0"
METHODS = ("lora", "dreambooth")
FULL = (
    "--folds 3 --seeds 2 --ratios 0.5,1,2,5 --strengths 0.5,0.7,1 --filters likeness,classifier,none --steps 400 "
    "--side 96"
)
REDUCED = "--folds 3 --seeds 2 --ratios 1,2 --strengths 0.7 --filters likeness --side 64 --workers 2 --threads 1"
BY = {"resnet10": "--steps 150", "efficientnet-lite0": "--steps 60"}  # proofs of their own in the reduced form
MADE_REDUCED = "--per-class 20 --steps 12 --set steps=150"
MADE_SMALL = "--per-class 2 --steps 4 --set steps=4"
SMALL = "--folds 2 --seeds 1 --ratios 1 --strengths 0.7 --filters none --steps 10 --side 48 --classifier resnet10"


def booth(*words: str) -> None:
    """Run a command of booth with this interpreter."""
    subprocess.run([sys.executable, "-c", "from booth.cli.app import main; main()", *words], check=True)


def five_classes(data: Path, out: Path) -> Path:
    """A table of the classes in question, in OUT."""
    file = out / "five.csv"
    found = read_set(data).where(lambda p: p.label in CLASSES)
    out.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image", "label", "lesion_id"])
        writer.writerows([p.path.name, p.label, p.group] for p in found.pictures)
    return file


def main() -> None:
    small, reduced = "--small" in sys.argv, "--reduced" in sys.argv
    data, out = (Path(word).absolute() for word in sys.argv[1:] if not word.startswith("--"))
    table, scarce = five_classes(data, out), ",".join(SCARCE)
    made = MADE_SMALL if small else MADE_REDUCED if reduced else "--per-class 50"
    common = ["--classes", scarce, "--class", NOUN, "--images", str(data), "--licence", LICENCE]
    booth("augment", str(table), "--out", str(out / "aug"), *common, *made.split())
    for shots in SHOTS[:1] if small else SHOTS:
        methods = [w for method in METHODS[: 1 if small or reduced else None] for w in ("--method", method)]
        asked = [str(out / "aug"), "--shots", str(shots), *methods]
        if not reduced:
            booth("augment", "prove", *asked, "--out", str(out / f"shots-{shots}"), *(SMALL if small else FULL).split())
            continue
        for name, steps in BY.items():
            place = ["--out", str(out / f"shots-{shots}-{name}"), "--classifier", name]
            booth("augment", "prove", *asked, *place, *REDUCED.split(), *steps.split())


if __name__ == "__main__":
    main()
