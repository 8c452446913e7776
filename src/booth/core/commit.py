"""The commit protocol: a folder appears whole, with the hashes of its files, or it does not appear at all.

Written beside its final place on the same filesystem, every file forced to the disk, the manifest last, then one
rename, then the parent folder forced to the disk. Killed at any moment, what was there before is still there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from booth.core.errors import DamagedFileError, DiskFullError, UnsafeFileError
from booth.core.json_values import Json
from booth.core.schema import require_readable

MANIFEST = "manifest.json"
SCHEMA = 1
PACKAGES = ("booth", "torch", "diffusers", "transformers", "peft", "safetensors", "numpy", "pillow")
HALF_FILE = r"(\..+)\.tmp-(\d+)(\.\w+)"  # hidden, so that it is never taken for a picture; savers go by the suffix
KEPT = 40  # characters of a long name while its file is half written, for a name has at most 255 bytes
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # a folder of this name holds files
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def committed(folder: Path, about: Mapping[str, object], needed: int = 0, aside: Path | None = None) -> Generator[Path]:
    """Yield a folder to write into, which becomes `folder` when the block ends well and vanishes when it does not.

    A former `folder` goes, or goes to `aside`. `about` goes into the manifest; `needed` is how many bytes are going to
    be written, as far as known. A full disk, at a write inside the block too, is a DiskFullError that says how many
    bytes are missing.
    """
    require_space(folder.parent, needed)
    work = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        yield work
        _seal(work, about)
        _put_in_place(work, folder, aside)
    except BaseException as error:
        written = size_of(work)
        shutil.rmtree(work, ignore_errors=True)
        if _is_full(error):
            require_space(folder.parent, needed)  # a full disk tells exactly; a quota or limit by what was written
            raise _disk_full(folder, max(1, needed - written)) from error
        raise


@contextmanager
def committed_file(file: Path, needed: int = 0) -> Generator[Path]:
    """Yield a path to write, which becomes `file` when the block ends well and vanishes when it does not."""
    require_space(file.parent, needed)
    hidden = f".{file.stem[:KEPT]}"
    work = file.with_name(f"{hidden}.tmp-{os.getpid()}{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent, hidden)
        yield work
        _sync(work)
        os.replace(work, file)
        _sync(file.parent)
    except BaseException as error:
        written = work.stat().st_size if work.exists() else 0
        work.unlink(missing_ok=True)
        if _is_full(error):
            require_space(file.parent, needed)
            raise _disk_full(file, max(1, needed - written)) from error
        raise


def require_space(folder: Path, needed: int) -> None:
    """Raise DiskFullError unless `needed` bytes are free where `folder` is or will be."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    missing = needed - shutil.disk_usage(place).free
    if missing > 0:
        raise _disk_full(folder, missing)


def verify(folder: Path) -> dict[str, Json]:
    """The manifest of a committed folder whose files all match it; DamagedFileError names the first that does not."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        require_readable(path, manifest["schema"], SCHEMA, manifest.get("versions"))
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            f"{path} is missing or cannot be read, so nothing vouches for {folder}.", code="concept.unvouched"
        ) from error
    for name, (size, digest) in files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise UnsafeFileError(
                f"{path} lists {name!r}, which lies outside its folder.",
                f"Do not use {folder}.",
                code="concept.outside_file",
            )
        file = folder / pure
        if not file.is_file():
            raise DamagedFileError(f"{file} is missing, though {MANIFEST} lists it.", code="concept.file_missing")
        if file.stat().st_size != size or _sha256(file) != digest:
            raise DamagedFileError(
                f"{file} does not match its hash in {MANIFEST}: it was changed or damaged.", code="concept.hash_differs"
            )
    return manifest


def sweep(parent: Path, name: str | None = None) -> None:
    """Clear away what killed processes left half written in `parent`, for what is called `name` or for all."""
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        found = re.fullmatch(r"(.+)\.tmp-(\d+)(-old)?", path.name) or re.fullmatch(HALF_FILE, path.name)
        if found is None or (name is not None and found.group(1) != name) or _is_alive(int(found.group(2))):
            continue
        folder = path.with_name(found.group(1))
        if path.is_file():
            path.unlink(missing_ok=True)
        elif found.group(3) and not folder.exists():
            os.replace(path, folder)  # killed between the two renames of a replacement
        else:
            shutil.rmtree(path, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder so that a half-removed one is never found under its name."""
    doomed = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def package_versions() -> dict[str, str]:
    """Versions of what a result depends on, as far as they are installed."""
    return dict(_installed_versions())


@cache  # a package's version is read from its files, and every checkpoint asks
def _installed_versions() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _seal(work: Path, about: Mapping[str, Any]) -> None:
    """Force all files to the disk and write the manifest over them."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(p for p in work.rglob("*") if p.is_file()):
        _sync(path)
        files[path.relative_to(work).as_posix()] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
    manifest = {"schema": SCHEMA, **about, "versions": package_versions(), "files": files}
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    _sync(work / MANIFEST)
    for path in (*(p for p in work.rglob("*") if p.is_dir()), work):
        _sync(path)


def _put_in_place(work: Path, folder: Path, aside: Path | None) -> None:
    """Rename, moving a former `folder` aside first: a folder cannot be renamed over one that holds files."""
    former = aside or work.with_name(f"{work.name}-old")
    while True:
        if folder.exists():
            with suppress(FileNotFoundError):  # another process moved it aside meanwhile
                os.replace(folder, former)
        try:
            os.replace(work, folder)
            break
        except OSError as error:  # another process put one in place meanwhile
            if aside is not None or error.errno not in TAKEN:
                raise
            shutil.rmtree(former, ignore_errors=True)
    _sync(folder.parent)
    if aside is None:
        shutil.rmtree(former, ignore_errors=True)


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder, and its renames are journalled
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # this process has no half-written folder when it sweeps: a former one had the same number
    if os.name == "nt":  # signal 0 is no question there but Ctrl-C; what is alive must not be swept away
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_full(error: BaseException) -> bool:
    """Whether the disk, a quota or a file-size limit stopped a write; safetensors tells it in words only."""
    if isinstance(error, OSError):
        return error.errno in FULL
    told = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return told is not None and int(told.group(1)) in FULL


def _disk_full(folder: Path, missing: int) -> DiskFullError:
    return DiskFullError(
        f"No room to write {folder}: {missing:,} bytes are missing. What was saved before is still there.",
        "Free that "
        "much (or raise the quota or the file-size limit, `ulimit -f`), then run the same command with `resume`.",
        code="disk.full",
        field="out",
    )
