"""A labelled set: pictures with a label each, in groups that are never split. Nothing is written into its folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.data.account import limited
from booth.data.decoding import decode, read_bytes

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {
    "train": TRAIN, "training": TRAIN, "trn": TRAIN,
    "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "dev": VALIDATION,
    "test": TEST, "testing": TEST, "tst": TEST, "holdout": TEST,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """One annotation of a picture: its box, and its outline if it has one."""

    category: int  # as in the file that it came from
    box: tuple[float, float, float, float]  # left, top, width, height in pixels
    polygons: tuple[tuple[float, ...], ...] = ()  # x, y, x, y, ...


@dataclass(frozen=True)
class Picture:
    """One picture of the set, known by its file."""

    path: Path
    name: str  # below the set's folder, with slashes
    label: str
    group: str = ""  # pictures of one group show the same thing and stay on one side of every split
    split: str | None = None  # train, validation or test, where the set has given splits
    context: str | None = None  # what is in it besides the class, such as "in the snow"
    sha256: str = ""  # of the file, in hexadecimal
    size: tuple[int, int] = (0, 0)  # width and height
    shapes: tuple[Shape, ...] = ()

    def image(self) -> Image.Image:
        """The decoded picture: RGB, upright."""
        return decode(read_bytes(self.path))

    def mask(self) -> Image.Image | None:
        """L, of the picture's size: white where its things are; None where nothing outlines or boxes them."""
        if not self.shapes:
            return None
        from PIL import ImageDraw

        mask = Image.new("L", self.size, 0)
        pen = ImageDraw.Draw(mask)
        for shape in self.shapes:
            left, top, width, height = shape.box
            for polygon in shape.polygons:
                pen.polygon(list(polygon), fill=255)
            if not shape.polygons:
                pen.rectangle((left, top, left + width, top + height), fill=255)
        return mask


@dataclass(frozen=True)
class LabelledSet:
    """All pictures of a set, in a fixed order, and what is to be told about them."""

    root: Path
    pictures: tuple[Picture, ...]
    layout: str  # a sentence
    notes: tuple[str, ...] = ()
    categories: dict[str, int] = field(default_factory=dict[str, int])  # COCO's ids by label

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in alphabetical order."""
        return tuple(sorted({p.label for p in self.pictures}))

    @property
    def counts(self) -> Counter[str]:
        """Pictures of each class."""
        return Counter(p.label for p in self.pictures)

    @property
    def groups(self) -> set[str]:
        """All groups."""
        return {p.group for p in self.pictures}

    @property
    def hashes(self) -> set[str]:
        """The sha256 of every picture's file."""
        return {p.sha256 for p in self.pictures}

    def where(self, wanted: Callable[[Picture], bool]) -> LabelledSet:
        """The part of the set whose pictures are wanted."""
        return replace(self, pictures=tuple(p for p in self.pictures if wanted(p)))

    def of(self, label: str) -> list[Picture]:
        """The pictures of a class."""
        return [p for p in self.pictures if p.label == label]

    def side(self, split: str) -> LabelledSet:
        """The pictures of a given split."""
        return self.where(lambda p: p.split == split)

    @property
    def has_splits(self) -> bool:
        """Whether the set says which pictures are for testing."""
        return any(p.split == TEST for p in self.pictures)


def checked(found: Iterable[Picture], bad: Sequence[str] = ()) -> tuple[tuple[Picture, ...], list[str]]:
    """The pictures with hash and size, every file decoded once, and notes on the labels.

    Raises one BadDataError that names every file and label that cannot be used, as `booth train` does for photos.
    """
    faults, pictures = list(bad), list[Picture]()
    for picture in found:
        try:
            data = read_bytes(picture.path)
            size = decode(data).size
        except BadDataError as error:
            faults.append(f"{printable(picture.path)} {error}")
            continue
        pictures.append(replace(picture, sha256=hashlib.sha256(data).hexdigest(), size=size))
    faults += _alike(pictures)
    if faults:
        told = [f"  - {fault}." for fault in limited(faults)]
        raise BadDataError(
            "\n".join(["This labelled set cannot be used; nothing was written:", *told]),
            code="labelled.unusable",
            field="data",
        )
    if not pictures:
        raise BadDataError(
            "There are no labelled pictures; name a folder with one folder a class, or a CSV.",
            code="labelled.empty",
            field="data",
        )
    return tuple(pictures), _same_file(pictures)


def require_classes(found: LabelledSet) -> None:
    """BadDataError for fewer than two classes: there would be nothing to tell apart."""
    if len(found.counts) < 2:
        raise BadDataError(
            f"All {len(found.pictures)} pictures have the label {found.pictures[0].label!r}.",
            "A labelled set needs "
            "two classes "
            "at least; name the column of the labels with `label`, or the folder above the classes' folders.",
            code="labelled.one_class",
            field="label",
        )


def _alike(pictures: Sequence[Picture]) -> list[str]:
    """A fault for each pair of labels that differ by case alone."""
    counts = Counter(p.label for p in pictures)
    forms: dict[str, list[str]] = {}
    for label in sorted(counts):
        forms.setdefault(" ".join(label.split()).casefold(), []).append(label)
    return [
        f"the labels {' and '.join(f'{each!r} ({counts[each]})' for each in several)} differ by case or blanks alone; "
        "write them alike"
        for several in forms.values()
        if len(several) > 1
    ]


def _same_file(pictures: Sequence[Picture]) -> list[str]:
    """A note where one file's bytes stand under two labels."""
    labels: dict[str, list[Picture]] = {}
    for picture in pictures:
        labels.setdefault(picture.sha256, []).append(picture)
    twice = [several for several in labels.values() if len({p.label for p in several}) > 1]
    if not twice:
        return []
    a, b = twice[0][0], next(p for p in twice[0] if p.label != twice[0][0].label)
    return [
        f"{len(twice)} pictures are there under two labels, such as {a.name} ({a.label}) and {b.name} ({b.label}): "
        "one of the two is wrong."
    ]
