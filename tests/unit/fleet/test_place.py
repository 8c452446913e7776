"""The same promises of a folder and of a store; and what becomes of requests that a store does not answer."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from booth.core.errors import NotAvailableError, UsageError
from booth.fleet import place as places
from booth.fleet.place import Folder, Place, Store, open_place


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return open_place(str(tmp_path / "place") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/place")


def test_files_are_found_by_their_names(place: Place, tmp_path: Path) -> None:
    assert place.names() == []
    assert place.read("a/b.json") is None
    place.write_json("a/b.json", {"x": 1})
    place.write_json("a/b.json", {"x": 2})
    place.write("ab", b"\0\1")
    (tmp_path / "own").write_bytes(b"own")
    place.put(tmp_path / "own", "a/c/own")
    assert place.names() == ["a/b.json", "a/c/own", "ab"]
    assert place.names("a") == ["a/b.json", "a/c/own"]
    assert place.read_json("a/b.json") == {"x": 2}
    place.get("a/c/own", tmp_path / "back" / "own")
    assert (tmp_path / "back" / "own").read_bytes() == b"own"
    place.remove("a/c/own", "a/b.json", "a/never")
    assert place.names() == ["ab"]
    assert place.read_json("ab") is None


def test_the_last_file_of_a_folder_comes_last(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    (folder / "x").mkdir(parents=True)
    for name in ("manifest.json", "a", "x/z"):
        (folder / name).write_text(name)
    assert place.put_folder(folder, "to", last="manifest.json") == ["to/a", "to/x/z", "to/manifest.json"]
    place.get_folder("to", tmp_path / "again")
    assert (tmp_path / "again/x/z").read_text() == "x/z"


def test_what_is_half_written_is_not_there(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    (tmp_path / ".state.tmp-99.json").write_text("{")
    assert place.names() == []


class Failing:
    """A filesystem whose first requests fail."""

    def __init__(self, fs: Any, error: Exception, times: int) -> None:
        self._fs, self._error, self.left = fs, error, times

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.left:
                self.left -= 1
                raise self._error
            return getattr(self._fs, name)(*arguments, **named)

        return call


def failing(error: Exception, times: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, list[float]]:
    waited: list[float] = []
    monkeypatch.setattr(places.time, "sleep", waited.append)
    store = Store(f"memory://{uuid.uuid4().hex}")
    store._fs = Failing(store._fs, error, times)
    return store, waited


def test_a_request_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, waited = failing(OSError("503 Service Unavailable"), 3, monkeypatch)
    store.write("a", b"1")
    assert store.read("a") == b"1"
    assert waited == [0.5, 1.0, 2.0]


def test_a_store_that_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store, waited = failing(OSError("503 Service Unavailable"), 99, monkeypatch)
    with pytest.raises(NotAvailableError, match="cannot be reached \\(503 Service Unavailable\\)"):
        store.write("a", b"1")
    assert 30 < sum(waited) < 120


def test_what_may_not_be_used_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, waited = failing(PermissionError("Access Denied"), 99, monkeypatch)
    with pytest.raises(UsageError, match="may not be used"):
        store.read("a")
    assert waited == []


def test_a_store_of_no_known_kind_is_refused() -> None:
    with pytest.raises(NotAvailableError, match="Name a folder"):
        open_place("nowhere://x")
