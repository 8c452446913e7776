"""What belongs to a photo by its name: captions, masks and control images beside it or in a folder of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from booth.data.captions import CAPTION_SUFFIXES
from booth.data.roles import BESIDE, Role, likely_role, role_of

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
# Pictures that we do not read: whoever put them there expects them to be used, so they are errors, not leftovers. One
# of any other suffix is known by its first bytes.
OTHER_PICTURES = frozenset(
    {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".heics"}
    | {".avifs", ".j2k", ".jpx", ".jpf", ".jxr", ".tga", ".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".dds", ".qoi", ".pcx"}
    | {".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".raw", ".3fr", ".iiq"}
    | {".crw", ".dcr", ".erf", ".fff", ".gpr", ".kdc", ".mef", ".mos", ".mrw", ".rwl", ".sr2", ".srf", ".x3f"}
)
MASK = "-masklabel"  # behind a photo's name, as OneTrainer has it: dog.jpg, dog-masklabel.png
HINT = "-condlabel"
# How a mask or hint is called after its photo, which has to be there, unless the mark is one of the two above.
MARKS: dict[Role, re.Pattern[str]] = {
    "masks": re.compile(r"(?P<own>.+?)[-_. ](mask(label)?s?|mattes?|alpha|seg|segmentation)", re.IGNORECASE),
    "hints": re.compile(
        r"(?P<own>.+?)[-_. ](cond(label)?|conditioning|hint|control|canny|depth|openpose|lineart|scribble|softedge)",
        re.IGNORECASE,
    ),
}
MASK_FIRST = re.compile(r"masks?[-_ ](?P<own>.+)", re.IGNORECASE)


def mask_of(photo: Path) -> Path:
    """The file that a photo's mask is written into."""
    return photo.with_name(f"{photo.stem}{MASK}.png")


@dataclass
class Beside:
    """The files that belong to the photos of one folder; nothing outside `source` is looked at."""

    folder: Path
    source: Path
    files: dict[str, Path] = field(init=False)  # of the folder, by name
    own: dict[str, dict[str, list[Path]]] = field(init=False)  # by role, of folders of their own, by lower stem
    taken: set[Path] = field(init=False)  # the folders of their own

    def __post_init__(self) -> None:
        self.files = {p.name: p for p in listed(self.folder)}
        photos = [p for p in self.files.values() if p.suffix.lower() in PHOTO_SUFFIXES]
        self._stems, self._names = {p.stem for p in photos}, {n.lower() for p in photos for n in (p.stem, p.name)}
        self._lower: dict[str, list[Path]] = {}
        self._marked: dict[str, dict[str, list[Path]]] = {role: {} for role in MARKS}
        for path in self.files.values():
            self._lower.setdefault(path.name.lower(), []).append(path)
            for role, owner in _owners(path) if path.suffix.lower() in PHOTO_SUFFIXES | OTHER_PICTURES else ():
                self._marked[role].setdefault(owner.lower(), []).append(path)
        self.own, self.taken = {role: {} for role in BESIDE}, set()
        homes = [self.folder]
        if self.folder != self.source:
            homes.append(self.folder.parent)
        for home in homes:
            for inner in listed(home):
                if inner != self.folder and inner.is_dir() and not inner.is_symlink():
                    self._take(inner)

    def role_of(self, folder: Path) -> Role | None:
        """Whether a folder is one of captions, masks or hints: by its name or, for most, by what its files are called.

        Texts of the photos' names are captions whatever their folder is called.
        """
        role = role_of(folder.name)
        if role is not None:
            return role if role in BESIDE else None
        files = [path for path in listed(folder) if path.is_file()]
        if not any({p.stem.lower(), p.name.lower()} & self._names for p in files):
            return None
        if any(p.suffix.lower() in PHOTO_SUFFIXES for p in files):
            return likely_role(folder.name)
        return "captions" if any(p.suffix.lower() in CAPTION_SUFFIXES for p in files) else None

    def _take(self, folder: Path) -> None:
        """The files of a folder of captions, masks or hints, and of one below it that is called as the photos' own."""
        role = self.role_of(folder)
        if role is None:
            return
        self.taken.add(folder)
        below = folder / self.folder.name
        for home in (folder, below) if below.is_dir() else (folder,):
            for path in listed(home):
                if path.is_file() and path.resolve().is_relative_to(self.source.resolve()):
                    names = {path.stem.lower(), path.name.lower()}
                    names |= {owner.lower() for kind, owner in _owners(path) if kind == role}
                    for name in names:
                        self.own[role].setdefault(name, []).append(path)

    def captions(self, photo: Path) -> list[Path]:
        """Caption files of a photo, the one to use first: x.txt, x.TXT, x.png.txt, captions/x.txt."""
        found = [
            path
            for suffix in CAPTION_SUFFIXES
            for name in (photo.stem, photo.name)
            for path in self._named(name, suffix)
        ]
        own = [p for p in self.own["captions"].get(photo.stem.lower(), []) if p.suffix.lower() in CAPTION_SUFFIXES] + [
            p for s in CAPTION_SUFFIXES for p in self.own["captions"].get(f"{photo.name}{s}".lower(), [])
        ]
        return list(dict.fromkeys([*found, *own]))

    def masks(self, photo: Path) -> list[Path]:
        """Mask files of a photo, the one to use first."""
        return self._pictures(photo, "masks", MASK)

    def control_images(self, photo: Path) -> list[Path]:
        """Hint files of a photo, the one to use first."""
        return self._pictures(photo, "hints", HINT)

    def is_beside(self, path: Path, stems: Container[str] = ()) -> bool:
        """Whether a picture is the mask or hint of a photo, by its name; plain marks count only beside a photo.

        `stems` are lower-case.
        """
        return path.stem.lower().endswith((MASK, HINT)) or any(owner.lower() in stems for _, owner in _owners(path))

    def _named(self, name: str, suffix: str) -> list[Path]:
        """Files called so, in whatever case; in another than the name's only where no other photo is called so."""
        exact = self.files.get(f"{name}{suffix}")
        others = [p for p in self._lower.get(f"{name}{suffix}".lower(), []) if p != exact]
        same = [p for p in others if p.name[: len(name)] == name]
        alike = [p for p in others if p not in same and p.stem not in self._stems]
        return [*([exact] if exact else []), *same, *alike]

    def _pictures(self, photo: Path, role: str, mark: str) -> list[Path]:
        names = (photo.stem.lower(), photo.name.lower())
        marked = [p for name in names for p in self._marked[role].get(name, []) if p != photo]
        marked.sort(key=lambda p: (not p.stem.lower().endswith(mark), p.suffix.lower() != ".png"))
        return list(dict.fromkeys([*marked, *(p for name in names for p in self.own[role].get(name, []))]))


def _owners(path: Path) -> Iterator[tuple[Role, str]]:
    """What a picture may be to a photo by its name, and the stem or the whole name of that photo."""
    for role, pattern in MARKS.items():
        if found := pattern.fullmatch(path.stem):
            yield role, found["own"]
    if found := MASK_FIRST.fullmatch(path.stem):
        yield "masks", found["own"]


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it cannot be listed, which is told where photos are looked for."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return []
