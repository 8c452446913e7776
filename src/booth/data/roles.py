"""What a folder is for, by its name and its parents': subjects, class pictures, captions, masks, hints or drawings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["subjects", "class pictures", "captions", "masks", "hints", "drawings", "validation"]

_PICTURES = r"(images?|imgs?|pics?|pictures?|photos?|data|dir|samples?)"
ROLES: dict[Role, re.Pattern[str]] = {
    # kohya's reg, and class_images of diffusers' scripts
    "class pictures": re.compile(
        rf"reg(s|ulari[sz]\w*|[\W_]?{_PICTURES})?([\W_\d].*)?|(class|prior)[\W_]?{_PICTURES}([\W_\d].*)?|prior"
    ),
    "captions": re.compile(r"(.*[\W_])?(captions?|tags|txts?|texts|labels)"),
    "masks": re.compile(r"(.*[\W_])?(masks?|masklabels?)"),
    "hints": re.compile(
        rf"conditioning([\W_]?{_PICTURES})?|hints|control([\W_]?({_PICTURES}|nets?))?|condlabels?"
    ),  # conditioning_data_dir of kohya, control_directory of musubi-tuner
    "drawings": re.compile(r"(.*[\W_])?(samples?|previews?|outputs?)|logs?|models?|checkpoints?"),
    "validation": re.compile(r"val|valid|validation|test|eval"),
    "subjects": re.compile(
        rf"im(a?g)s?|images?|(instance|subject|train|training)([\W_]?{_PICTURES})?|dataset|data|photos?|pictures?|pics"
    ),
}
LEFT_OUT: dict[Role, str] = {
    "class pictures": "regularisation pictures, as {name} says; booth draws its own",
    "drawings": "drawings or records of a trainer, as {name} says",
    "validation": "pictures for another use, as {name} says",
}
BESIDE = ("captions", "masks", "hints")  # what belongs to photos of the same names
# Names that are common words, and tell a role only where the files are called as the photos are.
LIKELY: dict[Role, re.Pattern[str]] = {
    "masks": re.compile(r"mattes?|alphas?|segmentations?([\W_]?(class|masks?))?"),
    "hints": re.compile(
        rf"cond(ition)?s?([\W_]?{_PICTURES})?|hint"
        r"|(canny|depth|openpose|line[\W_]?art|soft[\W_]?edges?|scribbles?)([\W_]?maps?)?"
    ),
}
KOHYA = re.compile(r"(?P<repeats>0*[1-9]\d{0,4})_(?P<words>\S.*)")
YEARS = range(1900, 2100)


def role_of(name: str) -> Role | None:
    """What a folder of this name is for."""
    return next((role for role, pattern in ROLES.items() if pattern.fullmatch(name.lower())), None)


def likely_role(name: str) -> Role | None:
    """What a folder of this name is for if its files are called as photos are."""
    return next((role for role, pattern in LIKELY.items() if pattern.fullmatch(name.lower())), None)


def role_below(folder: Path, source: Path) -> tuple[Role | None, str]:
    """What `folder` is for as it lies below `source`, whose own name does not count, and the name that tells it.

    The outermost folder decides that something is no subject: reg/img/1_dog holds class pictures.
    """
    names = folder.relative_to(source).parts
    told: list[tuple[Role | None, str]] = [(role, name) for name in names if (role := role_of(name)) is not None]
    return next((r for r in told if r[0] != "subjects"), told[0] if told else (None, ""))


@dataclass(frozen=True)
class Kohya:
    """What kohya's `<repeats>_<token> <class>` says in a folder's own name."""

    repeats: int
    words: str

    def subject(self, classes: Iterable[str]) -> tuple[str, str]:
        """Token and class noun; "" for a noun that is not told. `classes` are what class pictures are called.

        Without them the first word is the token, as in "sks teddy bear".
        """
        known = set(classes)
        found = sorted(known - {self.words}, key=len, reverse=True)
        for name in found:
            token = self.words.removesuffix(f" {name}")
            if token != self.words and " " not in token:
                return token, name
        token, _, noun = self.words.partition(" ")
        if not noun and len(found) == 1 and self.words not in known:
            return token, found[0]
        return token, noun.strip()


def kohya(folder: Path) -> Kohya | None:
    """What a folder's own name says; four digits that read as a year are none."""
    match = KOHYA.fullmatch(folder.resolve().name)
    if match is None or int(match["repeats"]) in YEARS:
        return None
    return Kohya(int(match["repeats"]), " ".join(match["words"].split()))
