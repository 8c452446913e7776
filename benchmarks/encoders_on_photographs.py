"""How well each encoder tells on photographs the same subject from another one of its class, and from other classes.

    python benchmarks/encoders_on_photographs.py FOLDER --out results/encoders_on_photographs.json

FOLDER holds a folder of photos for each subject, and `prompts_and_classes.txt`, whose lines `subject,class` say what
each is, as DreamBooth's own set of subjects does. Every encoder that is here looks at all of them: as they are,
with the background painted grey, and with the subject painted over, which tells how much is due to the places. The
table is written into docs/decisions/evaluation.md too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from booth import __version__
from booth.core.commit import package_versions
from booth.core.encoder import Encoder
from booth.core.errors import NotAvailableError
from booth.data.photos import load_photos
from booth.evaluate.masks import background_only, subject_only
from booth.families.quiet import hush
from booth.registry import ENCODERS

CLASSES = "prompts_and_classes.txt"
COMPARE = {"subject", "distribution"}  # roles of the encoders whose vectors of pictures are compared
# What is shown of a photo; the subject is what stands out.
SHOWN: dict[str, Callable[[Image], Image | None]] = {
    "all": lambda image: image,
    "subject": lambda image: subject_only(image, None),
    "background": lambda image: background_only(image, None),
}
COLUMNS = {
    "same": "same subject",
    "of_its_class": "another of its class",
    "of_others": "of other classes",
    "from_its_class": "told from its class",
    "from_others": "told from others",
    "nearest": "nearest photo",
}
PAGE = Path(__file__).parent.parent / "docs" / "decisions" / "evaluation.md"
BEGIN, END = "<!-- written by benchmarks/encoders_on_photographs.py -->", "<!-- end of what is written -->"


def read_classes(file: Path) -> dict[str, str]:
    """The class of each subject, from the lines of two names with a comma between them."""
    lines = [line.strip().split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2 and line[0].isidentifier()}


def encoders_here() -> list[Encoder]:
    """All that compare pictures and are on this machine."""
    found: list[Encoder] = []
    for kind in ENCODERS.usable().values():
        if COMPARE & set(kind.roles):
            try:
                found.append(kind())
            except NotAvailableError as reason:
                print(f"{kind.name} is left out: {reason}")
    return found


def compared(vectors: Mapping[str, Tensor], classes: Mapping[str, str]) -> dict[str, float | None]:
    """What an encoder tells, from its unit vectors (N, D) of each subject's photos; means over subjects.

    Likeness is the mean cosine of two photos. A chance is that of two photos of a subject being nearer to each other
    than one of them to another subject's: 0.5 for an encoder that knows nothing. `nearest` is the share of photos whose
    nearest one is of the same subject.
    """
    found: dict[str, list[float]] = {key: [] for key in COLUMNS}
    for name, own in vectors.items():
        among = own @ own.T  # (N, N)
        same = among[~torch.eye(len(own), dtype=torch.bool)]
        rest = {other: own @ theirs.T for other, theirs in vectors.items() if other != name}
        found["same"].append(float(same.mean()))
        for key in ("its_class", "others"):
            pairs = [c.flatten() for o, c in rest.items() if (classes[o] == classes[name]) == (key == "its_class")]
            if pairs:
                cosines = torch.cat(pairs)
                found[f"of_{key}"].append(float(cosines.mean()))
                found[f"from_{key}"].append(float((same[:, None] > cosines).float().mean()))
        nearer = among.fill_diagonal_(-1).max(1).values > torch.cat(list(rest.values()), 1).max(1).values  # (N,)
        found["nearest"].append(float(nearer.float().mean()))
    return {key: round(sum(each) / len(each), 4) if each else None for key, each in found.items()}


def table(encoders: Mapping[str, Any]) -> str:
    """The result in Markdown."""
    rows = [f"| encoder | shown | {' | '.join(COLUMNS.values())} |", f"|---|---|{'--:|' * len(COLUMNS)}"]
    for name, about in encoders.items():
        for shown, told in about["shown"].items():
            cells = ["" if told[key] is None else f"{told[key]:.2f}" for key in COLUMNS]
            rows.append(f"| `{name}` | {shown} | {' | '.join(cells)} |")
    return "\n".join(rows)


Subjects = Mapping[str, Sequence[Image]]


def _each(photos: Subjects, show: Callable[[Image], Image | None]) -> Subjects:
    """What is shown of each photo; a subject of whose photos fewer than two show anything is left out."""
    shown = {name: [s for image in images if (s := show(image)) is not None] for name, images in photos.items()}
    return {name: images for name, images in shown.items() if len(images) > 1}


def _told(encoder: Encoder, shown: Mapping[str, Subjects], classes: Mapping[str, str]) -> dict[str, Any]:
    return {
        what: compared({name: encoder.images(images) for name, images in photos.items()}, classes)
        for what, photos in shown.items()
    }


def with_table(page: str, encoders: Mapping[str, Any]) -> str:
    """The page with this table in the place of the one before."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the table: {BEGIN} and {END}.")
    return f"{before}{begin}\n\n{table(encoders)}\n\n{end}{after}"


def main(words: Sequence[str] | None = None) -> None:
    """Look at all photos through all encoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/encoders_on_photographs.json"))
    asked = parser.parse_args(words)
    hush()
    classes = read_classes(asked.folder / CLASSES)
    photos = {
        place.name: [photo.image for photo in load_photos([place]).photos]
        for place in sorted(asked.folder.iterdir())
        if place.is_dir() and place.name in classes
    }
    shown = {what: _each(photos, show) for what, show in SHOWN.items()}
    told = {encoder.name: encoder.about() | {"shown": _told(encoder, shown, classes)} for encoder in encoders_here()}
    subjects = {name: {"class": classes[name], "photos": len(images)} for name, images in photos.items()}
    result = {"encoders": told, "subjects": subjects, "booth": __version__, "versions": package_versions()}
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), told), encoding="utf-8")


if __name__ == "__main__":
    main()
