"""Where a fleet's state lies: a folder, or a bucket that fsspec knows. Files appear whole, by name, or not at all."""

# fsspec is not annotated.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from booth.core.commit import committed_file
from booth.core.errors import NotAvailableError, UsageError
from booth.core.json_values import Json
from booth.core.places import at_home, require_writable

T = TypeVar("T")
TRIES = 8  # of one request to a store; a minute in all
FIRST_WAIT = 0.5  # seconds before the second try, and twice as long before each further one
EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
HALF = ".tmp-"  # in the names of what is half written


class Place(ABC):
    """Files by names with slashes, such as "subjects/rex/1f2e/state.json"."""

    url: str

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """What a file holds; None if there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file, over the former one."""

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """Bring a file of this machine there."""

    @abstractmethod
    def get(self, name: str, file: Path) -> None:
        """Bring a file onto this machine."""

    @abstractmethod
    def names(self, under: str = "") -> list[str]:
        """Every file below a folder, in order."""

    @abstractmethod
    def remove(self, *names: str) -> None:
        """Remove files; those that are not there are passed over."""

    def read_json(self, name: str) -> dict[str, Json] | None:
        """An object; None if there is none, or what is there is none."""
        data = self.read(name)
        try:
            value = None if data is None else json.loads(data)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None  # type: ignore[reportUnknownVariableType]

    def write_json(self, name: str, value: object) -> None:
        """An object, readable by people too."""
        self.write(name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())

    def put_folder(self, folder: Path, under: str, last: str = "") -> list[str]:
        """Bring all files of a folder there, the one called `last` after all others; return their names."""
        files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p.name == last, str(p)))
        names = [f"{under}/{p.relative_to(folder).as_posix()}" for p in files]
        for file, name in zip(files, names, strict=True):
            self.put(file, name)
        return names

    def get_folder(self, under: str, folder: Path) -> None:
        """Bring all files below a folder onto this machine."""
        for name in self.names(under):
            self.get(name, folder / name.removeprefix(f"{under}/"))


class Folder(Place):
    """A folder of this machine, or one that several share."""

    def __init__(self, path: Path) -> None:
        require_writable(path)
        self.url = str(path.absolute())
        self._path = path.absolute()

    def read(self, name: str) -> bytes | None:
        file = self._path / name
        try:
            return file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        with committed_file(self._path / name, len(data)) as work:
            work.write_bytes(data)

    def put(self, file: Path, name: str) -> None:
        _copy(file, self._path / name)

    def get(self, name: str, file: Path) -> None:
        _copy(self._path / name, file)

    def names(self, under: str = "") -> list[str]:
        found = (p for p in (self._path / under).rglob("*") if p.is_file() and HALF not in p.name)
        return sorted(p.relative_to(self._path).as_posix() for p in found)

    def remove(self, *names: str) -> None:
        for name in names:
            file = self._path / name
            file.unlink(missing_ok=True)
            for folder in file.parents:
                if folder == self._path or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()


class Store(Place):
    """A bucket, or anything else that fsspec has a filesystem for. What fails for a while is tried again."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        try:
            found = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = EXTRAS.get(protocol)
            advice = f"Install it: pip install {package}" if package else "Name a folder, s3://BUCKET or gs://BUCKET"
            raise NotAvailableError(
                f"{url} needs a package that is not here ({error}).", f"{advice}.", code="package.missing", field="out"
            ) from error
        self._fs: Any = found[0]
        self._root: str = found[1].rstrip("/")

    def read(self, name: str) -> bytes | None:
        try:
            return self._tried(lambda: self._fs.cat_file(self._at(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self._tried(lambda: self._fs.pipe_file(self._at(name), data))

    def put(self, file: Path, name: str) -> None:
        self._tried(lambda: self._fs.put_file(str(file), self._at(name)))

    def get(self, name: str, file: Path) -> None:
        with committed_file(file) as work:
            self._tried(lambda: self._fs.get_file(self._at(name), str(work)))

    def names(self, under: str = "") -> list[str]:
        where = self._at(under) if under else self._root
        try:
            found: list[str] = self._tried(lambda: self._fs.find(where))
        except FileNotFoundError:
            return []
        start = f"{self._root}/"
        return sorted(name[name.index(start) + len(start) :] for name in found)

    def remove(self, *names: str) -> None:
        for name in names:
            try:
                self._tried(lambda name=name: self._fs.rm_file(self._at(name)))
            except FileNotFoundError:
                continue

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, request: Callable[[], T]) -> T:
        """A request, tried again while its store fails; NotAvailableError when it does not come back."""
        for attempt in range(TRIES):
            try:
                return request()
            except FileNotFoundError:
                raise
            except PermissionError as error:
                raise UsageError(
                    f"{self.url} may not be used: {error}.",
                    "Check the credentials and the name.",
                    code="place.refused",
                    field="out",
                ) from error
            except Exception as error:
                if attempt == TRIES - 1:
                    told = str(error).splitlines()[0] if str(error) else type(error).__name__
                    raise NotAvailableError(
                        f"{self.url} cannot be reached ({told}).",
                        "What was done is kept there; run the command again.",
                        code="place.unreachable",
                        field="out",
                    ) from error
                time.sleep(FIRST_WAIT * 2**attempt)
        raise AssertionError


def open_place(url: str) -> Place:
    """A folder by its path, or a store by its URL."""
    if "://" not in url:
        return Folder(at_home(Path(url)))
    if url.startswith("file://"):
        return Folder(Path(url.removeprefix("file://")))
    return Store(url)


def _copy(source: Path, file: Path) -> None:
    with committed_file(file, source.stat().st_size) as work:
        work.write_bytes(source.read_bytes())
