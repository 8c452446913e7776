"""Which files of the given folders are photos, in what layout they lie, and what each is called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from booth.core.errors import BadDataError
from booth.data.captions import CAPTION_SUFFIXES, METADATA, read_caption, read_metadata
from booth.data.decoding import sniff
from booth.data.pairs import FOLDER, PAIRS, hints_beside, hub_hints, is_hint, read_pairs

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
# Pictures that we do not read: whoever put them there expects them to be used, so they are errors, not leftovers.
OTHER_PICTURES = frozenset(
    {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".dng", ".cr2", ".nef"}
)
JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"})
KOHYA = re.compile(r"(?P<repeats>[1-9]\d{0,2})_(?P<token>\S+)(?:\s+(?P<noun>\S.*))?")  # 4 digits would be a year
MASK = "-masklabel"  # behind a photo's name, as OneTrainer has it: dog.jpg, dog-masklabel.png
DEPTH = 3  # how far below the given folder photos are looked for: kohya's project/img/10_sks dog is 2


@dataclass(frozen=True)
class Candidate:
    """A file that should be a photo."""

    path: Path
    caption: str | None
    repeats: int = 1
    mask: Path | None = None  # a picture that is white where the subject is
    hint: Path | None = None  # a picture that a ControlNet follows
    listed: bool = False  # the caption stands in a list of the whole folder, which wins over a text file


@dataclass
class Findings:
    """What lies in the sources; sentences are complete and name their file."""

    candidates: list[Candidate] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)
    subjects: set[tuple[str, str]] = field(default_factory=set)  # (token, noun) of kohya folders

    def tried(self, path: Path, action: Callable[[Path], str | None]) -> str | None:
        """The action's result, or None with the file noted as bad."""
        try:
            return action(path)
        except BadDataError as error:
            self.bad.append(f"{shown(path)} {error}")
            return None


def shown(path: Path | str) -> str:
    """A path fit for a terminal: whatever cannot be printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def find(sources: list[Path]) -> Findings:
    """Look through folders and files without opening more than their first bytes."""
    found = Findings()
    files = [s for s in sources if not os.path.isdir(s)]
    for folder in (s for s in sources if os.path.isdir(s)):
        _folder(folder, found)
    _listed(files, found)
    return found


def _listed(files: list[Path], found: Findings) -> None:
    """Files named one by one: everything but junk and the photos' own captions must be a photo."""
    stems = {f.with_suffix("") for f in files if f.suffix.lower() in PHOTO_SUFFIXES}
    photos = [
        f
        for f in files
        if f.name.lower() not in JUNK
        and not (f.suffix.lower() in CAPTION_SUFFIXES and f.with_suffix("") in stems)
        and not (f.stem.endswith(MASK) and f.with_name(f.stem.removesuffix(MASK)) in stems)
        and not is_hint(f)
    ]
    captions = [_caption_beside(p, found) for p in photos]
    hints = {p: hint for p in photos for hint in hints_beside(p.parent, p.parent, [p]).values()}
    found.candidates += [
        Candidate(p, c, mask=_mask_beside(p, found), hint=hints.get(p)) for p, c in zip(photos, captions)
    ]
    if photos:
        found.layouts.append(f"a list of {_counted(len(photos), captions, len(hints))}")


def _folder(source: Path, found: Findings) -> None:
    """Choose the folder that is meant, which is not always the one that was given."""
    if os.path.isfile(source / PAIRS):
        _pairs(source, found)
        return
    failures = len(found.bad)
    homes = {home: count for home, count in _homes(source, source, found, DEPTH) if count}
    taught = [home for home in homes if (match := _kohya(home)) and match["noun"]]
    others = [home for home in homes if home not in taught]
    if source in homes and (len(taught) == 0 or taught == [source]):
        chosen, ignored = [source], [home for home in homes if home != source]
    elif source in homes:
        found.bad.append(
            f"{shown(source)} holds photos itself and in kohya folders ({_names(taught)}); name the one that you mean"
        )
        return
    elif taught:
        chosen, ignored = taught, others
    elif len(homes) <= 1:
        chosen, ignored = list(homes), []
    else:
        found.bad.append(
            f"{shown(source)} holds no photos itself, but several of its folders do ({_names(others)}); "
            "name the one that you mean"
        )
        return
    if not chosen and len(found.bad) == failures:
        found.bad.append(f"{shown(source)} holds no photos; put JPEG, PNG or WebP files there or name another folder")
    for home in ignored:
        reason = "regularisation pictures; booth draws its own" if _kohya(home) else "not the folder that is used"
        found.skipped.append(f"{shown(home)}/ skipped with {_counted(homes[home], [])}: {reason}.")
    for home in chosen:
        _home(home, source, found)


def _homes(folder: Path, source: Path, found: Findings, depth: int) -> Iterator[tuple[Path, int]]:
    """Each folder at or below `folder` that holds photos, with their number. Links to folders are not followed."""
    entries = _entries(folder, found)
    photos = [e for e in entries if _is_photo(e, source)]
    if METADATA in (e.name for e in entries):
        yield folder, max(1, len(photos))  # its photos may lie in sub-folders, which are not homes of their own
        return
    yield folder, len(photos)
    for entry in entries:
        is_home = os.path.isdir(entry) and not os.path.islink(entry) and entry.name != FOLDER
        if depth and is_home and entry not in photos:
            yield from _homes(entry, source, found, depth - 1)


def _home(folder: Path, source: Path, found: Findings) -> None:
    """Take the photos and captions of one folder."""
    kohya = _kohya(folder)
    metadata: dict[Path, str | None] = {}
    entries = _entries(folder, found)
    photos = [e for e in entries if _is_photo(e, source)]
    used = {folder / METADATA}
    if folder / METADATA in entries:
        metadata = _hub(folder / METADATA, found)
        photos = list(dict.fromkeys([*photos, *metadata]))
    hints = _hints(folder, source, photos, found)
    used |= set(hints.values())
    photos = [p for p in photos if p not in used]
    captions: list[str | None] = []
    for photo in photos:
        if os.path.islink(photo) and (reason := _bad_link(photo, source)):
            found.bad.append(f"{shown(photo)} {reason}")
            continue
        used |= {photo, mask_of(photo), *(photo.with_suffix(s) for s in CAPTION_SUFFIXES)}
        captions.append(metadata.get(photo) or _caption_beside(photo, found))
        repeats = int(kohya["repeats"]) if kohya else 1
        parts = (repeats, _mask_beside(photo, found), hints.get(photo))
        found.candidates.append(Candidate(photo, captions[-1], *parts, listed=metadata.get(photo) is not None))
    used |= set(photos)
    for entry in entries:
        if entry not in used and (not os.path.isdir(entry) or os.path.islink(entry)):
            found.skipped.append(f"{shown(entry)} skipped: not a photo and no photo's caption.")
    if kohya and kohya["noun"]:
        found.subjects.add((kohya["token"], kohya["noun"]))
    kind = "a Hub imagefolder" if metadata else "a kohya folder" if kohya else "a flat folder"
    where = "" if folder == source else ", below the folder that was given"
    named = f", token {kohya['token']!r}, class {kohya['noun']!r}" if kohya and kohya["noun"] else ""
    counted = _counted(len(captions), captions, len(hints))
    found.layouts.append(f"{shown(folder)} is {kind} of {counted}{named}{where}")


def _hints(folder: Path, source: Path, photos: list[Path], found: Findings) -> dict[Path, Path]:
    """The hint of each photo of a folder that has one: named by the metadata, or lying beside it."""
    named: dict[Path, Path] = {}
    if os.path.isfile(folder / METADATA):
        with suppress(BadDataError):  # which is told where the captions are read
            named, bad = hub_hints(folder / METADATA)
            found.bad += [f"{shown(folder / METADATA)} {shown(reason)}" for reason in bad]
    return hints_beside(folder, source, photos) | named


def _pairs(source: Path, found: Findings) -> None:
    """Take what a prompt.json lists; a picture that has no prompt there may have a caption beside it."""
    path = source / PAIRS
    try:
        pairs, bad = read_pairs(path)
    except BadDataError as error:
        pairs, bad = [], [str(error)]
    found.bad += [f"{shown(path)} {shown(reason)}" for reason in bad]
    captions = [p.caption or _caption_beside(p.picture, found) for p in pairs]
    found.candidates += [
        Candidate(p.picture, caption, 1, _mask_beside(p.picture, found), p.hint, listed=p.caption is not None)
        for p, caption in zip(pairs, captions, strict=True)
    ]
    counted = _counted(len(pairs), captions, len(pairs))
    found.layouts.append(f"{shown(source)} is a set of pairs as Fill50K, of {counted}")


def _hub(path: Path, found: Findings) -> dict[Path, str | None]:
    try:
        captions, bad = read_metadata(path)
    except BadDataError as error:
        captions, bad = {}, [str(error)]
    found.bad += [f"{shown(path)} {shown(reason)}" for reason in bad]
    return captions


def _entries(folder: Path, found: Findings) -> list[Path]:
    """What lies in a folder, by name; hidden and junk files are as if they were not there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.bad.append(f"{shown(folder)} cannot be listed ({error.strerror}); allow it with `chmod u+rx`")
        return []
    return [folder / n for n in names if not n.startswith(".") and n.lower() not in JUNK]


def _is_photo(path: Path, source: Path) -> bool:
    """Whether a file was meant as a photo: by its name, or else by its first bytes."""
    if path.stem.endswith(MASK) or is_hint(path):
        return False
    if path.suffix.lower() in PHOTO_SUFFIXES | OTHER_PICTURES:
        return True
    if path.suffix.lower() in (*CAPTION_SUFFIXES, ".json", ".jsonl") or not os.path.isfile(path):
        return False
    if os.path.islink(path) and _bad_link(path, source):
        return False
    try:
        with path.open("rb") as file:
            return sniff(file.read(12)) is not None
    except OSError:
        return False


def _bad_link(path: Path, source: Path) -> str | None:
    """Why a link cannot stand for a photo; a folder from a stranger must not reach into the rest of the disk."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "is a link to a place that does not exist; remove it"
    if not target.is_relative_to(source.resolve()):
        return "is a link to a place outside the folder; copy the photo itself here (cp -L)"
    return "is a link to a folder; remove it" if os.path.isdir(target) else None


def _caption_beside(photo: Path, found: Findings) -> str | None:
    for suffix in CAPTION_SUFFIXES:
        path = photo.with_suffix(suffix)
        if not os.path.isfile(path):
            continue
        if os.path.islink(path) and (reason := _bad_link(path, path.parent)):
            found.bad.append(f"{shown(path)} {reason}")
            return None
        failures = len(found.bad)
        caption = found.tried(path, read_caption)
        if caption is None and len(found.bad) == failures:
            found.skipped.append(f"{shown(path)} skipped: it is blank, so {shown(photo.name)} has no caption.")
        return caption
    return None


def mask_of(photo: Path) -> Path:
    """The file that a photo's mask lies in."""
    return photo.with_name(f"{photo.stem}{MASK}.png")


def _mask_beside(photo: Path, found: Findings) -> Path | None:
    mask = mask_of(photo)
    if not os.path.isfile(mask):
        return None
    if os.path.islink(mask) and (reason := _bad_link(mask, mask.parent)):
        found.bad.append(f"{shown(mask)} {reason}")
        return None
    return mask


def _kohya(folder: Path) -> re.Match[str] | None:
    """Kohya's `<repeats>_<token> <class>` in a folder's own name."""
    return KOHYA.fullmatch(folder.resolve().name)


def _names(folders: list[Path]) -> str:
    more = f" and {len(folders) - 5} more" if len(folders) > 5 else ""
    return ", ".join(shown(f.name) for f in folders[:5]) + more


def _counted(count: int, captions: list[str | None], hints: int = 0) -> str:
    with_caption = sum(c is not None for c in captions)
    photos = f"{count} photo{'s' * (count != 1)}"
    told = [photos, f"{with_caption} with a caption" if with_caption else "", f"{hints} with a hint" if hints else ""]
    return ", ".join(filter(None, told))
