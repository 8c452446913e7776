"""Runs and concepts as their folders say; `docs/reference/run-folder.md` is what is read here, and all of it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.core.concept import RECORD, TOLD
from booth.core.process import is_running
from booth.web.follow import EVENTS, Digest, Followers
from booth.web.home import Home, id_of

WORK = ".run"  # behind the name of the folder in which a concept comes about
FRESH = 1.5  # seconds for which the folders that were found are believed
PICTURES = frozenset({".png"})


@dataclass(frozen=True)
class Place:
    """A folder that is a concept or is going to be one."""

    id: str
    home: Home
    out: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.out.name

    @property
    def work(self) -> Path:
        """The folder beside it, while it is not finished."""
        return self.out.with_name(self.out.name + WORK)

    @property
    def events(self) -> Path:
        """Where the events are now."""
        working = self.work / EVENTS
        return working if working.is_file() else self.out / TOLD / EVENTS

    @property
    def is_concept(self) -> bool:
        """Whether it is finished."""
        return (self.out / RECORD).is_file()

    @property
    def has_run(self) -> bool:
        """Whether it tells how it came about."""
        return self.events.is_file()

    def process(self) -> dict[str, Any] | None:
        """The process that trains, if it lives."""
        held = read_json(self.work / "lock")
        if held is None or not {"pid", "started", "host"} <= held.keys():
            return None
        return held if is_running(held) else None

    def frozen(self) -> dict[str, Any]:
        """run.json: what is trained; empty before training begins."""
        return read_json(self.work / "run.json") or read_json(self.out / TOLD / "run.json") or {}

    def record(self) -> dict[str, Any] | None:
        """concept.json, unchecked; None if it is not finished."""
        return read_json(self.out / RECORD)

    def preview(self, digest: Digest, step: int, number: int) -> Path | None:
        """A picture of a preview, by the order in which it was drawn."""
        drawn = digest.previews.get(step)
        if drawn is None or not 0 <= number < len(drawn["files"]):
            return None
        name = Path(str(drawn["files"][number])).name
        folder = f"{step:06d}"
        for parent in (self.work / "previews" / folder, self.out / "samples" / "previews" / folder):
            if (found := self.picture(parent / name)) is not None:
                return found
        return None

    def samples(self) -> list[Path]:
        """The pictures of the finished concept."""
        found = sorted((self.out / "samples").glob("*.png"))
        return [p for p in found if self.picture(p) is not None]

    def picture(self, path: Path) -> Path | None:
        """The path, if it is a picture's file that really lies in this home."""
        if path.is_symlink() or path.suffix.lower() not in PICTURES or not path.is_file():
            return None
        return path if self.home.contains(path) else None


class Places:
    """All concepts and runs of a home, found anew when somebody looks."""

    def __init__(self, home: Home, followers: Followers) -> None:
        self.home, self.followers = home, followers
        self._found: dict[str, Place] = {}
        self._looked = -math.inf
        self._lock = threading.Lock()

    def all(self) -> list[Place]:
        """Every one, the latest first."""
        with self._lock:
            if time.monotonic() - self._looked > FRESH:
                self._found = {place.id: place for place in self._find()}
                self._looked = time.monotonic()
            found = list(self._found.values())
        return sorted(found, key=_touched, reverse=True)

    def get(self, key: str) -> Place | None:
        """The one of an id; None if there is none."""
        found = next((p for p in self.all() if p.id == key), None)
        if found is None:
            self.forget()
            found = next((p for p in self.all() if p.id == key), None)
        return found

    def of(self, out: Path) -> Place:
        """The place of a folder of this home, there or not."""
        return Place(id_of(self.home.relative(out)), self.home, out)

    def forget(self) -> None:
        """Look anew the next time."""
        with self._lock:
            self._looked = -math.inf

    def digest(self, place: Place) -> Digest:
        """What the run told so far."""
        return self.followers.of(place.id).look(place.events)

    def _find(self) -> Iterator[Place]:
        seen: set[Path] = set()
        for folder in self.home.folders():
            out = folder.with_name(folder.name.removesuffix(WORK))
            if out in seen:
                continue
            if (folder.name.endswith(WORK) and (folder / EVENTS).is_file()) or (folder / RECORD).is_file():
                seen.add(out)
                yield self.of(out)


def state_of(place: Place, digest: Digest) -> str:
    """running, saving, starting, paused, failed, killed or done."""
    alive = place.process() is not None
    if place.is_concept and not alive:
        return "done"
    if alive and digest.end is None:
        if digest.phase == "writing":
            return "saving"
        return "running" if digest.stages else "starting"
    if digest.end is not None:
        state = str(digest.end.get("state"))
        return state if state in ("paused", "failed") else "done" if place.is_concept else "killed"
    return "killed"


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is none that can be read."""
    try:
        if file.is_symlink():
            return None
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _touched(place: Place) -> float:
    for file in (place.events, place.out / RECORD):
        try:
            return file.stat().st_mtime
        except OSError:
            continue
    return 0.0
