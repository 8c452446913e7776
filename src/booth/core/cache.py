"""Where things are kept that later runs can use again."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

# Its folders that any run makes again; the others hold what somebody put there, or what a run goes on from.
MADE_AGAIN = ("bases", "class_pictures", "compiled", "latents", "untouched")


def bound(folder: Path, most: int, keep: Path) -> None:
    """Let go of the entries, files or folders, that were used longest ago, until all take no more than `most` bytes."""
    sizes = {Path(entry.path): _bytes(Path(entry.path)) for entry in os.scandir(folder)}
    left = sum(sizes.values())
    for path in sorted(sizes, key=_used):
        if left <= most:
            return
        if path != keep:
            left -= sizes[path]
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _used(path: Path) -> float:
    """When an entry was used last; one that another process has let go of was never."""
    return path.stat().st_mtime if path.exists() else 0.0


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    with suppress(FileNotFoundError):  # another process lets go of it
        return sum(file.stat().st_size for file in files if file.is_file())
    return 0


def kept() -> dict[str, int]:
    """The bytes of each part of the cache that is made again when it is missing."""
    return {name: _bytes(cache_folder() / name) for name in MADE_AGAIN if (cache_folder() / name).is_dir()}


def empty() -> int:
    """Let go of all that is made again; the bytes that this gave back. Weights that somebody put there stay."""
    before = sum(kept().values())
    for name in MADE_AGAIN:
        shutil.rmtree(cache_folder() / name, ignore_errors=True)
    return before - sum(kept().values())


def cache_folder() -> Path:
    """$BOOTH_CACHE, or booth's place in the user's cache folder."""
    named = os.environ.get("BOOTH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named).expanduser() if named else Path(home).expanduser() / "booth"
