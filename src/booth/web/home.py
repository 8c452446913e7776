"""The folder that a studio shows: where its photos, runs, concepts and jobs lie, and by which ids they are known."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from booth.core.errors import UsageError

ID = re.compile(r"[0-9a-f]{12}")
DEPTH = 4  # folders below the root in which runs and concepts are looked for
OTHERS = frozenset({"node_modules", "checkpoints", "previews", "samples", "unet", "text_encoder"})  # hold no run


@dataclass(frozen=True)
class Home:
    """A folder like any in which the command line is used, with one folder more: `studio/`."""

    root: Path

    @property
    def concepts(self) -> Path:
        """Where concepts are written, as by the command line."""
        return self.root / "concepts"

    @property
    def photos(self) -> Path:
        """A folder for each set of photos."""
        return self.root / "photos"

    @property
    def studio(self) -> Path:
        """What the studio keeps for itself; all but the jobs can be thrown away."""
        return self.root / "studio"

    @property
    def jobs(self) -> Path:
        """A folder for each job: what was asked, which process does it, what it said."""
        return self.studio / "jobs"

    @property
    def snapshots(self) -> Path:
        """Photos as they were when a job was queued, in a folder called by its content."""
        return self.studio / "snapshots"

    @property
    def pictures(self) -> Path:
        """A folder for each drawing."""
        return self.root / "pictures"

    @property
    def trash(self) -> Path:
        """What was deleted, until the undo is no longer wanted."""
        return self.studio / "trash"

    def make(self) -> None:
        """Make the folders that the studio writes into; UsageError where it may not."""
        try:
            for folder in (self.studio, self.jobs, self.photos, self.concepts):
                folder.mkdir(parents=True, exist_ok=True)
            self.studio.chmod(0o700)
        except OSError as error:
            raise UsageError(
                f"{self.root} cannot be written: {error.strerror}.", "Name another folder.", code="folder.not_writable"
            ) from error

    def relative(self, path: Path) -> str:
        """A path below the root as the commands that are shown have it."""
        return path.relative_to(self.root).as_posix()

    def contains(self, path: Path) -> bool:
        """Whether a path really lies below the root, whatever links lead there."""
        return path.resolve().is_relative_to(self.root.resolve())

    def folders(self) -> Iterator[Path]:
        """Every folder at or below the root that may hold a run or a concept. Links are not followed."""
        yield from self._below(self.root, DEPTH)

    def _below(self, folder: Path, depth: int) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            return
        for entry in entries:
            hidden = entry.name.startswith(".") or ".tmp-" in entry.name or entry.name in OTHERS
            if hidden or not entry.is_dir(follow_symlinks=False) or Path(entry.path) in (self.studio, self.photos):
                continue
            yield Path(entry.path)
            if depth > 1:
                yield from self._below(Path(entry.path), depth - 1)

    def token(self, renew: bool = False) -> str:
        """The secret that a browser has to know; kept, so that a restarted studio knows its browsers again."""
        file = self.studio / "token"
        if not renew and file.is_file() and not file.is_symlink():
            kept = file.read_text(encoding="ascii", errors="replace").strip()
            if re.fullmatch(r"[\w-]{32,}", kept):
                return kept
        token = secrets.token_urlsafe(32)
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(token + "\n")
        return token


def id_of(text: str) -> str:
    """The id of a place in the home: the same whenever the library is built anew, and no path."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
