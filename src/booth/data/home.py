"""One folder of photos: which of its files are photos, what belongs to each, and what is left over."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.core.reading import read_text
from booth.data.account import UNUSED_CAPTION, Candidate, Findings, counted
from booth.data.beside import OTHER_PICTURES, PHOTO_SUFFIXES, Beside
from booth.data.captions import CAPTION_SUFFIXES, MAX_CAPTION_BYTES, read_caption
from booth.data.decoding import is_other_picture, sniff, stranger
from booth.data.lists import LIST_SUFFIXES, STEM, CaptionList, caption_list
from booth.data.pairs import PAIRS
from booth.data.roles import Role, kohya, role_of

JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"})
# What programs write beside photos under their names, that is text and no caption.
SIDECARS = frozenset({".xmp", ".aae", ".thm", ".xml", ".pp3", ".dop", ".npz", ".safetensors", ".html", ".md5"})


@dataclass
class Home:
    """A folder with what lies in it."""

    folder: Path
    source: Path | None  # the folder that was given and nothing outside which is read; None = files named one by one
    entries: list[Path]
    photos: list[Path]
    beside: Beside
    lists: list[CaptionList] = field(default_factory=list[CaptionList])
    role: Role | None = None
    told_by: str = ""  # the name of the folder that tells the role

    @property
    def is_readable(self) -> bool:
        """Whether any of its photos is of a kind that is read."""
        return any(not _is_other(photo) for photo in self.photos)

    @property
    def listed(self) -> list[Path]:
        """Every photo that a list names."""
        return list(dict.fromkeys(photo for each in self.lists for photo in each.captions))


def look(folder: Path, source: Path | None, root: Path, entries: list[Path]) -> Home:
    """A folder's entries, and which of them are meant as photos; `root` is where what belongs to them may lie."""
    beside = Beside(folder, root)
    stems = {name.lower() for e in entries if e.suffix.lower() in PHOTO_SUFFIXES for name in (e.stem, e.name)}
    meant = [e for e in entries if not beside.is_beside(e, stems) and _is_photo(e, source)]
    # IMG_1.HEIC has its own JPEG in IMG_1.jpg, and in IMG_1.HEIC.jpg too.
    readable = {name.lower() for p in meant if p.suffix.lower() in PHOTO_SUFFIXES for name in (p.stem, p.name)}
    photos = [p for p in meant if not ({p.stem.lower(), p.name.lower()} & readable and _is_other(p))]
    return Home(folder, source, entries, photos, beside)


def read_lists(home: Home, entries: Iterable[Path], found: Findings) -> None:
    """Note the lists among the entries that name photos of the folder; the one to prefer first."""
    belongs = {path for photo in home.photos for path in home.beside.captions(photo)}
    files = [e for e in entries if e.suffix.lower() in LIST_SUFFIXES and e not in belongs and e.name.lower() != PAIRS]
    for path in sorted(files, key=lambda p: (p.stem.lower() != STEM, LIST_SUFFIXES.index(p.suffix.lower()), p.name)):
        try:
            told = caption_list(path)
        except BadDataError as error:
            found.bad.append(f"{printable(path)} {printable(str(error))}")
            continue
        if told is None:
            continue
        home.lists.append(told)
        if told.several:
            found.leave(path, f"of the captions of {counted(told.several, 'photo')} only the first is used")
        if told.of_hub:
            found.bad += [f"{printable(path)} {printable(reason)}" for reason in told.bad]
        elif told.bad:
            found.leave(path, f"in {counted(len(told.bad), 'place')} it names no photo with a caption: {told.bad[0]}")


def take(home: Home, found: Findings) -> list[Candidate]:
    """A candidate for each photo, with what belongs to it."""
    captions: dict[Path, tuple[str, Path]] = {}
    control_images: dict[Path, Path] = {}
    for each in home.lists:
        for photo, caption in each.captions.items():
            if caption is not None:
                captions.setdefault(photo, (caption, each.path))
        control_images = each.control_images | control_images
    taken: list[Candidate] = []
    followed = set(control_images.values())
    for photo in home.photos:
        if photo in followed:
            continue
        if home.source is not None and os.path.islink(photo) and (reason := bad_link(photo, home.source)):
            found.bad.append(f"{printable(photo)} {reason}")
            continue
        caption, file = captions.get(photo) or caption_beside(photo, home.beside, found)
        named = kohya(photo.parent)
        mask = first(home.beside.masks(photo), found)
        control_image = control_images.get(photo) or first(home.beside.control_images(photo), found)
        repeats = named.repeats if named else 1
        taken.append(Candidate(photo, caption, repeats, mask, control_image, photo in captions, file))
    return taken


def leave(home: Home, taken: list[Candidate], found: Findings) -> None:
    """Account for everything in the folder that is no photo and belongs to none."""
    used: set[Path] = {each.path for each in home.lists}
    stems: dict[str, str] = {}  # of photos, lower-case, with the name as it is
    for photo in (c.path for c in taken):
        stems |= {photo.stem.lower(): photo.name, photo.name.lower(): photo.name}
    for c in taken:
        used |= {p for p in (c.path, c.mask, c.control_image, c.caption_file) if p is not None}
    used |= set(home.photos)  # those that are refused are told elsewhere
    blank = {left.path for left in found.left}
    names = re.compile("|".join(map(re.escape, sorted({c.path.name.lower() for c in taken}))) or r"(?!)")
    for entry in home.entries:
        if entry in used or entry in blank:
            continue
        if os.path.isdir(entry) and not os.path.islink(entry):
            continue
        found.leave(entry, _why(entry, stems, names))
    _leave_beside(home, used, found)


def _why(entry: Path, stems: dict[str, str], names: re.Pattern[str]) -> str:
    """Why a file is not used, judged against the photos; `names` finds one of theirs in a text."""
    suffix, photo = entry.suffix.lower(), stems.get(entry.stem.lower()) or stems.get(entry.name.lower())
    if photo is not None and _is_other(entry):
        return "a photo of the same name is used in its place, for it is of a kind that booth does not read"
    if suffix == ".parquet":
        return f"{UNUSED_CAPTION}: save it as metadata.csv with the columns file_name and text"
    if entry.name.lower() == PAIRS:
        return "it lists no pairs of pictures, whatever its name says"
    if photo is not None and suffix == ".json":
        return f"{UNUSED_CAPTION}: write the caption alone into a .txt of the photo's name"
    if photo is not None and suffix in CAPTION_SUFFIXES:
        return f"{UNUSED_CAPTION}: {photo} has another caption that is preferred"
    if suffix in (".csv", ".tsv", ".jsonl"):
        return f"{UNUSED_CAPTION}: its columns file_name and text have to name photos of this folder and describe them"
    if suffix in PHOTO_SUFFIXES:
        return "it is another photo's mask or hint, and that photo has one already or is not there"
    text = "" if suffix in SIDECARS else _text_in(entry).lower()
    if text and _begins_as(entry.name, stems):
        return f"{UNUSED_CAPTION}: name it like its photo, with .txt"
    if names.search(text):
        return f"{UNUSED_CAPTION}: save it as metadata.csv with the columns file_name and text"
    return "not a photo and no photo's caption"


def _begins_as(name: str, stems: Container[str]) -> bool:
    """Whether the name is that of a photo and more: x.jpg.supplemental.json, x.caption.txt."""
    parts = name.lower().split(".")
    return any(".".join(parts[:count]) in stems for count in range(1, len(parts)))


def _leave_beside(home: Home, used: set[Path], found: Findings) -> None:
    """What lies in folders of captions, masks and control images, and belongs to no photo that is used."""
    for role, files in home.beside.own.items():
        own = dict.fromkeys(path for several in files.values() for path in several)
        stray = [path for path in own if path not in used]
        for path in stray:
            if role == "captions":
                found.leave(path, f"{UNUSED_CAPTION}: no photo without a caption is called so")
            else:
                found.leave(path, f"no photo that needs one of the {role} is called so")


def company(photo: Path, beside: Beside) -> list[Path]:
    """Every file that belongs to a photo by its name, used or not."""
    return [*beside.captions(photo), *beside.masks(photo), *beside.control_images(photo)]


def caption_beside(photo: Path, beside: Beside, found: Findings) -> tuple[str | None, Path | None]:
    """The caption in a file beside a photo, and the file."""
    for path in beside.captions(photo):
        if not os.path.isfile(path):
            continue
        if os.path.islink(path) and (reason := bad_link(path, path.parent)):
            found.bad.append(f"{printable(path)} {reason}")
            return None, path
        if path.suffix.lower() == ".json":
            try:
                caption = read_caption(path)
            except BadDataError:  # most files of this kind are no captions, which is told where they are left out
                continue
        else:
            failures = len(found.bad)
            caption = found.tried(path, read_caption)
            if len(found.bad) > failures:
                return None, path
        if caption is None:
            found.leave(path, f"it is blank, so {printable(photo.name)} has no caption")
        return caption, path
    return None, None


def first(paths: list[Path], found: Findings) -> Path | None:
    """The first of the files that may belong to a photo, unless it is a link out of its folder."""
    for path in paths:
        if not os.path.isfile(path):
            continue
        if os.path.islink(path) and (reason := bad_link(path, path.parent)):
            found.bad.append(f"{printable(path)} {reason}")
            return None
        return path
    return None


def bad_link(path: Path, source: Path) -> str | None:
    """Why a link cannot stand for a photo; a folder from a stranger must not reach into the rest of the disk."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "is a link to a place that does not exist; remove it"
    if not target.is_relative_to(source.resolve()):
        return "is a link to a place outside the folder; copy the photo itself here (cp -L)"
    return "is a link to a folder; remove it" if os.path.isdir(target) else None


def _is_photo(path: Path, source: Path | None) -> bool:
    """Whether a file was meant as a photo: by its name, or else by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in PHOTO_SUFFIXES | OTHER_PICTURES:
        return not (os.path.isdir(path) and role_of(path.name) is not None)
    if suffix in (*CAPTION_SUFFIXES, *LIST_SUFFIXES) or not os.path.isfile(path):
        return False
    if source is not None and os.path.islink(path) and bad_link(path, source):
        return False
    head = _head(path)
    return sniff(head) is not None or is_other_picture(head)


def _is_other(path: Path) -> bool:
    """Whether a file is a picture of a kind that we do not read."""
    if path.suffix.lower() in PHOTO_SUFFIXES or not os.path.isfile(path):
        return False
    head = _head(path)
    return sniff(head) is None and (path.suffix.lower() in OTHER_PICTURES or is_other_picture(head))


def in_place_of_photos(homes: Iterable[Home]) -> str:
    """A clause on the first file whose kind is known, where there are no photos at all; "" where none tells."""
    for path in (entry for home in homes for entry in home.entries):
        known = stranger(_head(path, 512)) if path.is_file() and path.suffix.lower() not in LIST_SUFFIXES else None
        if known is not None:
            return f"{printable(path.name)} {known[0]}; {known[1]}"
    return ""


def _head(path: Path, count: int = 32) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _text_in(path: Path) -> str:
    """What a text file says, or any words for one in another encoding; nothing for a file that is no text."""
    try:
        text = read_text(path, MAX_CAPTION_BYTES)
    except BadDataError as error:
        return "text" if "UTF" in str(error) and "no text" not in str(error) else ""
    return "" if "\0" in text or text.lstrip().startswith("<") else text.strip()
