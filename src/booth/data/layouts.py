"""Which files of the given folders are photos, in what layout they lie, and what each is called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.data.account import Candidate, Findings, counted
from booth.data.beside import PHOTO_SUFFIXES, Beside, listed
from booth.data.choice import choose
from booth.data.home import (
    JUNK,
    Home,
    caption_beside,
    company,
    first,
    in_place_of_photos,
    leave,
    look,
    read_lists,
    take,
)
from booth.data.lists import LIST_SUFFIXES, caption_list
from booth.data.pairs import PAIRS, read_pairs
from booth.data.roles import BESIDE, LEFT_OUT, kohya, role_of

ABOVE = re.compile(r"(metadata|captions?|prompts?|meta_\w+)\.(jsonl|csv|tsv|json|txt)")  # lists of folders below them
DEPTH = 3  # how far below the given folder photos are looked for: kohya's project/img/10_sks dog is 2


def find(sources: list[Path]) -> Findings:
    """Look through folders and files without opening more than their first bytes and what is text."""
    found = Findings()
    sources = _whole(sources)
    files = [s for s in sources if not os.path.isdir(s)]
    folders = [s for s in sources if os.path.isdir(s)]
    folders, beside = _without_company(folders, bool(files), found)
    for folder in folders:
        _folder(folder, found, folder.parent if folder.parent in beside else folder)
    _listed(files, found)
    return found


def _whole(sources: list[Path]) -> list[Path]:
    """The sources, where all that lies in a folder was named one by one, as a shell does for photos/*, that folder.

    Where folders alone were named they are meant each: shots/* joins what shots would have to be chosen from.
    """
    for folder in dict.fromkeys(s.parent for s in sources if s.suffix.lower() in {*PHOTO_SUFFIXES, *LIST_SUFFIXES}):
        own = [s for s in sources if s.parent == folder]
        try:
            names = {n for n in os.listdir(folder) if not n.startswith(".") and n.lower() not in JUNK}
        except OSError:
            continue
        if len(names) > 1 and names <= {s.name for s in own}:
            place = sources.index(own[0])
            sources = [*sources[:place], folder, *(s for s in sources[place:] if s not in own)]
    return sources


def _without_company(folders: list[Path], files: bool, found: Findings) -> tuple[list[Path], set[Path]]:
    """The folders that show subjects, where others were named beside them, as project/* names img and reg.

    And the parents of those that hold captions, masks or control images, where they are looked for.
    """
    roles = {s: role_of(s.resolve().name) for s in folders}
    company = (*BESIDE, "class pictures")
    if not files and all(role in company for role in roles.values()):
        return folders, set()  # whoever names such a folder alone means it
    for folder in (s for s in folders if roles[s] == "class pictures"):
        count = sum(len(h.photos) for h in _homes(folder, folder, Findings(), DEPTH))
        found.leave(folder, LEFT_OUT["class pictures"].format(name="its name"), count)
    return [s for s in folders if roles[s] not in company], {s.parent for s in folders if roles[s] in BESIDE}


def _listed(files: list[Path], found: Findings) -> None:
    """Files named one by one: what belongs to a photo by its name is no photo, and anything else has to be one."""
    taken: list[Candidate] = []
    for folder in dict.fromkeys(f.parent for f in files):
        own = [f for f in files if f.parent == folder and f.name.lower() not in JUNK]
        home = look(folder, None, folder, own)
        read_lists(home, [folder / name for name in sorted(home.beside.files)], Findings())
        beside = {p for photo in home.photos for p in company(photo, home.beside)} | {each.path for each in home.lists}
        stems = {name.lower() for p in home.photos for name in (p.stem, p.name)}
        # Where a folder is given a stray text is left out; whoever names a file expects it to be used.
        home.photos = [f for f in own if f not in beside and not home.beside.is_beside(f, stems)]
        taken += take(home, found)
    order = {path: i for i, path in enumerate(files)}
    taken.sort(key=lambda c: order.get(c.path, len(order)))
    found.candidates += taken
    if taken:
        found.layouts.append(f"a list of {_counted(taken)}")


def _folder(source: Path, found: Findings, root: Path) -> None:
    """Choose the folder that is meant, which is not always the one that was given."""
    if os.path.isfile(source / PAIRS) and _pairs(source, found):
        return
    failures = len(found.bad)
    homes = list(_homes(source, root, found, DEPTH))
    if not any(h.photos for h in homes) and len(found.bad) == failures:
        homes = list(_homes(source, root, found, DEPTH, all_of_them=True))  # a name proves nothing where no others are
    for home in homes:
        above = {p for h in homes if h is not home and home.folder.is_relative_to(h.folder) for p in h.listed}
        home.photos = [p for p in home.photos if p not in above]
    choice = choose(source, [h for h in homes if h.photos])
    if choice.problem:
        found.bad.append(f"{printable(source)} {choice.problem}")
        return
    if not choice.chosen and len(found.bad) == failures:
        told = in_place_of_photos(homes) or "put JPEG, PNG or WebP files there or name another folder"
        found.bad.append(f"{printable(source)} holds no photos{': ' if ' is a' in told else '; '}{told}")
    beside = {folder for home in choice.chosen for folder in home.beside.taken}
    for home, why in choice.ignored:
        if home.folder not in beside:
            found.leave(home.folder, why, len(home.photos))
    _leave_bare(homes, beside, found)
    for home in choice.chosen:
        _home(home, found, choice.classes)
        if home.folder == root:
            _leave_outside(home, found)


def _leave_outside(home: Home, found: Findings) -> None:
    """Account for what belongs to the photos and lies beside the folder that was given, where nobody looks.

    These are folders of captions, masks or hints, and lists above the photos.
    """
    names = {name.lower() for photo in home.photos for name in (photo.stem, photo.name)}
    here = home.folder.resolve()
    for path in listed(here.parent):
        if ABOVE.fullmatch(path.name.lower()) and path.is_file() and _names_any_in(here, path):
            found.leave(path, "it describes these photos, and it is used where the folder that it lies in is named")
    for folder in listed(home.folder.resolve().parent):
        role = role_of(folder.name)
        if role not in BESIDE or folder == home.folder.resolve() or not folder.is_dir():
            continue
        if any({file.stem.lower(), file.name.lower()} & names for file in listed(folder)):
            found.leave(folder, f"its {role} are called as these photos, and it is used where it is named beside them")


def _names_any_in(folder: Path, path: Path) -> bool:
    """Whether a file above the folder is a list of captions for photos in it."""
    try:
        told = caption_list(path)
    except BadDataError:
        return False
    return told is not None and any(
        photo.parent.resolve() == folder and caption is not None for photo, caption in told.captions.items()
    )


def _leave_bare(homes: list[Home], beside: set[Path], found: Findings) -> None:
    """Account for folders in which there are no photos at any depth and nothing that belongs to any."""
    full = {photo.parent for h in homes for photo in h.photos} | beside
    bare = [h for h in homes if h.entries and not any(f.is_relative_to(h.folder) for f in full)]
    folders = {h.folder for h in bare}
    for home in bare:
        if home.folder.parent not in folders and not any(home.folder.is_relative_to(f) for f in beside):
            found.leave(home.folder, "a folder without photos")


def _homes(folder: Path, root: Path, found: Findings, depth: int, all_of_them: bool = False) -> Iterator[Home]:
    """Each folder at or below `folder`, with what lies in it. Links to folders are not followed."""
    home = look(folder, root, root, _entries(folder, found))
    read_lists(home, home.entries, found)
    home.photos = list(dict.fromkeys([*home.photos, *home.listed]))
    yield home
    for entry in home.entries:
        if not depth or os.path.islink(entry) or not os.path.isdir(entry) or entry in home.photos:
            continue
        if all_of_them or (role_of(entry.name) not in BESIDE and entry not in home.beside.taken):
            yield from _homes(entry, root, found, depth - 1, all_of_them)


def _home(home: Home, found: Findings, classes: set[str]) -> None:
    """Take the photos and captions of one folder."""
    taken = take(home, found)
    found.candidates += taken
    leave(home, taken, found)
    found.subjects |= {k.subject(classes) for c in taken if (k := kohya(c.path.parent)) is not None}
    named = kohya(home.folder)
    kind = "a kohya folder" if named else "a flat folder"
    if home.lists:
        name = printable(home.lists[0].path.name)
        kind = "a Hub imagefolder" if home.lists[0].of_hub else f"a folder with captions in {name},"
    below = "" if home.folder == home.source else ", below the folder that was given"
    token, noun = named.subject(classes) if named else ("", "")
    taught = f", token {token!r}, class {noun!r}" if noun else ""
    found.layouts.append(f"{printable(home.folder)} is {kind} of {_counted(taken)}{taught}{below}")


def _pairs(source: Path, found: Findings) -> bool:
    """Take what a prompt.json lists, if it lists pairs; a picture without a prompt may have a caption beside it."""
    path = source / PAIRS
    try:
        read = read_pairs(path)
    except BadDataError as error:
        read = ([], [str(error)])
    if read is None:
        return False
    pairs, bad = read
    found.bad += [f"{printable(path)} {printable(reason)}" for reason in bad]
    besides = {folder: Beside(folder, source) for folder in {p.picture.parent for p in pairs}}
    taken: list[Candidate] = []
    for pair in pairs:
        beside, listed = besides[pair.picture.parent], pair.caption is not None
        caption, file = (pair.caption, path) if listed else caption_beside(pair.picture, beside, found)
        mask = first(beside.masks(pair.picture), found)
        taken.append(Candidate(pair.picture, caption, 1, mask, pair.control_image, listed, file))
    found.candidates += taken
    found.layouts.append(f"{printable(source)} is a set of pairs as Fill50K, of {_counted(taken)}")
    return True


def _entries(folder: Path, found: Findings) -> list[Path]:
    """What lies in a folder, by name; hidden and junk files are as if they were not there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.bad.append(f"{printable(folder)} cannot be listed ({error.strerror}); allow it with `chmod u+rx`")
        return []
    return [folder / n for n in names if not n.startswith(".") and n.lower() not in JUNK]


def _counted(taken: list[Candidate]) -> str:
    with_caption = sum(c.caption is not None for c in taken)
    control_images = sum(c.control_image is not None for c in taken)
    told = [
        counted(len(taken), "photo"),
        f"{with_caption} with a caption" if with_caption else "",
        f"{control_images} with a hint" if control_images else "",
    ]
    return ", ".join(filter(None, told))
