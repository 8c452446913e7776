"""What belongs to a photo by its name: captions, masks and control images beside it or in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from booth.data.captions import CAPTION_SUFFIXES
from booth.data.roles import BESIDE, role_of

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
MASK = "-masklabel"  # behind a photo's name, as OneTrainer has it: dog.jpg, dog-masklabel.png
HINT = "-condlabel"
MASK_MARKS = (MASK, "-mask", "_mask", ".mask")
HINT_MARKS = (HINT,)


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

    def __post_init__(self) -> None:
        self.files = {p.name: p for p in _listed(self.folder)}
        self._lower: dict[str, list[Path]] = {}
        for path in self.files.values():
            self._lower.setdefault(path.name.lower(), []).append(path)
        self.own = {role: {} for role in BESIDE}
        homes = [self.folder]
        if self.folder != self.source:
            homes.append(self.folder.parent)
        for home in homes:
            for inner in _listed(home):
                role = role_of(inner.name)
                if role in BESIDE and inner != self.folder and inner.is_dir() and not inner.is_symlink():
                    self._take(role, inner)

    def _take(self, role: str, folder: Path) -> None:
        """The files of a folder of captions, masks or hints, and of one below it that is called as the photos' own."""
        below = folder / self.folder.name
        for home in (folder, below) if below.is_dir() else (folder,):
            for path in _listed(home):
                if path.is_file() and path.resolve().is_relative_to(self.source.resolve()):
                    self.own[role].setdefault(path.stem.lower(), []).append(path)
                    self.own[role].setdefault(path.name.lower(), []).append(path)

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
        return self._pictures(photo, MASK_MARKS, "masks")

    def control_images(self, photo: Path) -> list[Path]:
        """Hint files of a photo, the one to use first."""
        return self._pictures(photo, HINT_MARKS, "hints")

    def is_beside(self, path: Path, stems: Mapping[str, object] | Iterable[str] = ()) -> bool:
        """Whether a picture is the mask or hint of a photo, by its name; plain marks count only beside a photo."""
        if path.stem.endswith((MASK, HINT)):
            return True
        return any(path.stem.endswith(m) and path.stem.removesuffix(m) in stems for m in MASK_MARKS)

    def _named(self, name: str, suffix: str) -> list[Path]:
        """Files called so, in whatever case the suffix is written."""
        exact = self.files.get(f"{name}{suffix}")
        others = [p for p in self._lower.get(f"{name}{suffix}".lower(), []) if p.stem == name and p != exact]
        return [*([exact] if exact else []), *others]

    def _pictures(self, photo: Path, marks: tuple[str, ...], role: str) -> list[Path]:
        marked = [
            p for m in marks for s in (".png", *sorted(PHOTO_SUFFIXES)) for p in self._named(f"{photo.stem}{m}", s)
        ]
        own = [*self.own[role].get(photo.stem.lower(), []), *self.own[role].get(photo.name.lower(), [])]
        for mark in marks:
            own += self.own[role].get(f"{photo.stem}{mark}".lower(), [])
        return list(dict.fromkeys([*marked, *own]))


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it cannot be listed, which is told where photos are looked for."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return []
