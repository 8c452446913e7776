"""Sets of photos: folders like those of the command line, and what the studio knows beside them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError, UsageError
from booth.web.home import Home, id_of
from booth.web.jobs import write_json
from booth.web.limited import child
from booth.web.photo import CAPTION, MASK, SUFFIXES, Photo
from booth.web.runs import read_json

MOST_PHOTOS = 200
UNDONE = 20  # changes of captions that can be taken back


class PhotoSet:
    """A folder of photos of one thing."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.id = id_of("photos:" + home.relative(folder))
        self._lock = _lock_of(self.id)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    @property
    def thumbs(self) -> Path:
        """Where small pictures of it lie."""
        return self.home.studio / "thumbs" / self.id

    def photos(self) -> list[Photo]:
        """Its photos by name; links are left alone."""
        try:
            entries = sorted(os.scandir(self.folder), key=lambda e: e.name)
        except OSError:
            return []
        found = [
            Path(e.path) for e in entries
            if e.is_file(follow_symlinks=False) and not e.name.startswith(".")
            and Path(e.name).suffix.lower() in SUFFIXES and not Path(e.name).stem.endswith(MASK)
        ]  # fmt: skip
        return [Photo(id_of(f"photo:{self.id}:{f.name}"), f) for f in found[:MOST_PHOTOS]]

    def get(self, key: str) -> Photo | None:
        """The photo of an id."""
        return next((p for p in self.photos() if p.id == key), None)

    # What the studio knows beside the files.

    @property
    def _about(self) -> Path:
        return self.home.studio / "sets" / f"{self.id}.json"

    def about(self) -> dict[str, Any]:
        """Noun, token and kind that were typed last, crops, what was taken off each photo, captions to undo."""
        return {"crops": {}, "taken": {}, "undo": []} | (read_json(self._about) or {})

    def note(self, **values: object) -> None:
        """Keep some of that."""
        with self._lock:
            self._about.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._about, self.about() | values)

    def survey(self) -> dict[str, Any]:
        """What the photos are like; looked at again only when a file changed."""
        with self._lock:
            photos = self.photos()
            stamp = hashlib.sha256(json.dumps([_stamp(p.file) + _stamp(p.mask) for p in photos]).encode()).hexdigest()
            file = self.home.studio / "surveys" / f"{self.id}.json"
            known = read_json(file)
            if known is not None and known.get("stamp") == stamp:
                return known
            names = [p.file.name for p in photos]
            told = child(["survey", str(self.folder), str(self.thumbs)], json.dumps(names).encode()) if names else {}
            if "error" in told:  # of all at once, such as want of memory: nothing is known of any
                told = {"photos": {n: {"verdicts": [{"kind": "bad", "text": told["error"]}]} for n in names}}
            told = {"photos": {}, "same_background": False, **told, "stamp": stamp}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, told)
            return told

    def take(self, name: str, data: bytes) -> dict[str, object]:
        """Add a photo that was sent; its name only helps to find it again. BadDataError for what is none."""
        stem = plain_name(name)
        with self._lock:
            if len(self.photos()) >= MOST_PHOTOS:
                raise BadDataError(f"A set has at most {MOST_PHOTOS} photos.", code="photos.too_many")
            self.folder.mkdir(parents=True, exist_ok=True)
            stem = self._free(stem)
            told = child(["take", str(self.folder), stem], data)
            if "error" in told:
                raise BadDataError(f"The photo '{name[:80]}' {told['error']}.", code="picture.unreadable")
            taken = self.about()["taken"]
            taken[told["file"]] = {key: told[key] for key in ("turned", "located", "tagged")}
            self.note(taken=taken)
        photo = next(p for p in self.photos() if p.file.name == told["file"])
        return {**told, "id": photo.id}

    def _free(self, stem: str) -> str:
        there = {p.file.stem.lower() for p in self.photos()}
        name, number = stem, 1
        while name.lower() in there or (self.folder / f"{name}{CAPTION}").exists():
            number += 1
            name = f"{stem}-{number}"
        return name

    def remove(self, photo: Photo) -> str:
        """Put a photo, with its caption and mask, into the trash; returns how to have it back."""
        key = f"photo-{photo.id}-{time.time_ns()}"
        place = self.home.trash / key
        place.mkdir(parents=True)
        for file in (photo.file, photo.caption_file, photo.mask):
            if file.is_file() and not file.is_symlink():
                os.replace(file, place / file.name)
        write_json(place.with_suffix(".json"), {"folder": self.home.relative(self.folder)})
        return key

    def paint(self, photo: Photo, data: bytes | None) -> dict[str, object]:
        """Keep a mask that was painted, or take it away."""
        if data is None:
            photo.mask.unlink(missing_ok=True)
            return {"mask": None}
        facts = self.survey()["photos"].get(photo.file.name, {})
        if "width" not in facts:
            raise BadDataError(
                "This photo cannot be decoded, so that nothing can be painted over it.", code="photo.undecodable"
            )
        told = child(["paint", str(photo.mask), str(facts["width"]), str(facts["height"])], data)
        if "error" in told:
            raise BadDataError(f"The mask {told['error']}.", code="mask.unusable")
        return told

    def outline(self, photo: Photo) -> bytes:
        """A first mask of a photo to paint from, as a PNG; nothing is kept of it."""
        told = child(["outline", str(photo.file)], b"")
        if "error" in told:
            raise BadDataError(f"This photo {told['error']}.", code="picture.unreadable")
        return base64.b64decode(told["png"])

    def replace(self, find: str, put: str, *, apply: bool) -> list[dict[str, object]]:
        """Captions with `find` replaced by `put`: a preview or, applied, what was changed."""
        changes: list[dict[str, Any]] = []
        for photo in self.photos():
            before, version = photo.caption()
            after = f"{put} {before}".strip() if not find else before.replace(find, put)
            if after != before:
                changes.append({"id": photo.id, "before": before, "after": " ".join(after.split()), "version": version})
        if apply and changes:
            by_id = {p.id: p for p in self.photos()}
            done = [c | {"version": by_id[c["id"]].write_caption(c["after"], c["version"])} for c in changes]
            self.note(undo=[*self.about()["undo"], done][-UNDONE:])
        return changes

    def undo(self) -> int:
        """Take the last replacement back, but for captions that were changed since; how many were taken back."""
        history = self.about()["undo"]
        if not history:
            return 0
        by_id, count = {p.id: p for p in self.photos()}, 0
        for change in history[-1]:
            photo = by_id.get(change["id"])
            if photo is not None and photo.caption()[1] == change["version"]:
                photo.write_caption(change["before"], change["version"])
                count += 1
        self.note(undo=history[:-1])
        return count

    def snapshot(self) -> tuple[Path, dict[str, str]]:
        """A copy of the photos as they are now, cropped as was asked, in a folder called by its content, and hashes.

        A job learns from it, whatever becomes of the photos while it waits.
        """
        with self._lock:
            photos, crops = self.photos(), self.about()["crops"]
            if not photos:
                raise UsageError("There are no photos in this set yet.", "Add some first.", code="photos.none_yet")
            files = [f for p in photos for f in (p.file, p.caption_file, p.mask) if f.is_file() and not f.is_symlink()]
            hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
            boxes = {p.file.name: crops[p.file.name] for p in photos if p.file.name in crops}
            key = hashlib.sha256(json.dumps([hashes, boxes], sort_keys=True).encode()).hexdigest()[:16]
            place = self.home.snapshots / key
            if not place.is_dir():
                self._copy(files, boxes, place)
            return place, {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(place.iterdir())}

    def _copy(self, files: list[Path], boxes: dict[str, list[float]], place: Path) -> None:
        import shutil

        work = place.with_name(f"{place.name}.tmp-{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        cropped = {Path(name).stem for name in boxes}
        for file in files:
            stem = file.stem.removesuffix(MASK)
            if stem not in cropped or file.suffix == CAPTION:
                shutil.copyfile(file, work / file.name)
        if boxes:
            told = child(["crop", str(self.folder), str(work)], json.dumps(boxes).encode())
            if "error" in told:
                raise BadDataError(f"A photo {told['error']}.", code="picture.unreadable")
        os.replace(work, place)


class PhotoSets:
    """All sets of a home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def all(self) -> list[PhotoSet]:
        """Every folder of photos, the latest first."""
        try:
            entries = [e for e in os.scandir(self.home.photos) if e.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        found = [PhotoSet(self.home, Path(e.path)) for e in entries if not e.name.startswith(".")]
        if any(Path(e.name).suffix.lower() in SUFFIXES for e in os.scandir(self.home.photos)):
            found.append(PhotoSet(self.home, self.home.photos))
        return sorted(found, key=lambda s: s.folder.stat().st_mtime, reverse=True)

    def get(self, key: str) -> PhotoSet | None:
        """The set of an id."""
        return next((s for s in self.all() if s.id == key), None)

    def new(self, name: str) -> PhotoSet:
        """An empty set, called so or nearly so."""
        stem = plain_name(name) if name.strip() else time.strftime("photos-%Y-%m-%d")
        number, folder = 1, self.home.photos / stem
        while folder.exists():
            number += 1
            folder = self.home.photos / f"{stem}-{number}"
        folder.mkdir(parents=True)
        return PhotoSet(self.home, folder)


def plain_name(words: str) -> str:
    """Somebody's words as a file's name: letters, digits and dashes of it, and nothing that leads elsewhere."""
    stem = re.split(r"[\\/]", words)[-1]
    stem = stem.rsplit(".", 1)[0] if "." in stem[1:] else stem
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-_")[:60]
    return "photo" if not stem or stem.lower().endswith(MASK) else stem


_locks: dict[str, threading.RLock] = {}


def _lock_of(key: str) -> threading.RLock:
    return _locks.setdefault(key, threading.RLock())


def _stamp(file: Path) -> list[Any]:
    try:
        told = file.stat()
    except OSError:
        return [file.name]
    return [file.name, told.st_size, told.st_mtime_ns]
