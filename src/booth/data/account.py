"""The account of what lies in the folders of photos: what is used, what is left out and why, what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from booth.core.errors import BadDataError
from booth.core.places import printable

NAMED = 3  # of left-out files of one kind so many are named, or else one and the number
COUNTED = 8  # from so many faults of one kind on, only the first of them are listed
UNUSED_CAPTION = "looks like a caption and is not used"


@dataclass(frozen=True)
class Candidate:
    """A file that should be a photo."""

    path: Path
    caption: str | None
    repeats: int = 1
    mask: Path | None = None  # a picture that is white where the subject is
    control_image: Path | None = None  # a picture that a ControlNet follows
    listed: bool = False  # the caption stands in a list of the whole folder, which wins over a text file
    caption_file: Path | None = None  # where the caption was read


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not used."""

    path: Path
    why: str  # a clause: "not a photo and no photo's caption"
    photos: int | None = None  # how many a folder holds

    @property
    def looks_like_caption(self) -> bool:
        """Whether its owner may think that it is used."""
        return self.why.startswith(UNUSED_CAPTION)


@dataclass
class Findings:
    """What lies in the sources; sentences are complete and name their file."""

    candidates: list[Candidate] = field(default_factory=list[Candidate])
    bad: list[str] = field(default_factory=list[str])
    left: list[LeftOut] = field(default_factory=list[LeftOut])
    layouts: list[str] = field(default_factory=list[str])
    subjects: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # (token, noun) of kohya folders

    def leave(self, path: Path, why: str, photos: int | None = None) -> None:
        """Account for a file or folder that is not used."""
        self.left.append(LeftOut(path, why, photos))

    def tried(self, path: Path, action: Callable[[Path], str | None]) -> str | None:
        """The action's result, or None with the file noted as bad."""
        try:
            return action(path)
        except BadDataError as error:
            self.bad.append(f"{printable(path)} {error}")
            return None


def sentences(left: Iterable[LeftOut]) -> tuple[str, ...]:
    """What is left out, in words; of many files that are alike one is named."""
    kinds: dict[str, list[LeftOut]] = {}
    told: list[str] = []
    for each in left:
        if each.photos is not None:
            told.append(f"{printable(each.path)}/ skipped with {counted(each.photos, 'photo')}: {each.why}.")
        else:
            kinds.setdefault(each.why, []).append(each)
    for why, files in kinds.items():
        if files[0].looks_like_caption:
            told.append(_unused_captions(why, files))
        elif len(files) <= NAMED:
            told += [f"{printable(f.path)} skipped: {why}." for f in files]
        else:
            told.append(f"{len(files)} files skipped, such as {printable(files[0].path)}: {why}.")
    return tuple(told)


def _unused_captions(why: str, files: list[LeftOut]) -> str:
    advice = why.removeprefix(UNUSED_CAPTION).strip(" :;")
    names = ", ".join(printable(f.path.name) for f in files[:NAMED])
    many = len(files) > 1
    beginning = (
        f"{len(files)} files look like captions and are"
        if many
        else f"{printable(files[0].path)} looks like a caption and is"
    )
    return f"{beginning} not used{f', such as {names}' if many else ''}: {advice}."


def limited(bad: list[str]) -> list[str]:
    """Faults in order; of many of one kind the first few are listed, and the others counted."""
    kinds = [_kind(fault) for fault in bad]
    told: list[str] = []
    for i, (fault, kind) in enumerate(zip(bad, kinds, strict=True)):
        count, before = kinds.count(kind), kinds[:i].count(kind)
        if count <= COUNTED or before < NAMED:
            told.append(fault)
        elif before == NAMED:
            told.append(f"and {count - NAMED} more of the same kind as {printable(_name(bad[kinds.index(kind)]))}")
    return told


def _kind(fault: str) -> str:
    """What a fault says without names and numbers."""
    words = re.sub(r"\d+", "0", fault).split(" ")
    start = next((i for i, w in enumerate(words) if w in {"is", "has", "names", "holds", "line", "and", "cannot"}), 0)
    plain = [w for w in words[start : start + 6] if not re.search(r"[./\\'\"]", w)]
    return " ".join(plain)


def _name(fault: str) -> str:
    return re.split(r" (?:is|has|names|holds|line|and|cannot) ", fault)[0]


def counted(count: int, what: str) -> str:
    """ "1 photo", "2 photos"."""
    return f"{count} {what}{'s' * (count != 1)}"
