"""What can be known of a place before the work: its name, and whether it can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from booth.core.commit import committed_file
from booth.core.errors import UsageError
from booth.core.places import as_text, at_home, free_file, free_files, require_empty, require_name, require_writable


def test_names_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    for name in ("a" * 248, "犬" * 82):
        with pytest.raises(UsageError, match=r"has 24[68] bytes, and 235 are the most"):
            require_writable(tmp_path / name)
    with pytest.raises(UsageError, match="is not UTF-8"):
        require_name(tmp_path / os.fsdecode(b"caf\xe9"))
    require_writable(tmp_path / ("a" * 235))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_and_a_check_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        require_writable(tmp_path / "file" / "below")
    if os.name != "nt":
        with pytest.raises(UsageError, match="cannot be written"):
            require_writable(Path("/proc/self/new"))
    require_writable(tmp_path / "new" / "deeper")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    for expected in ("sheet.png", "sheet-2.png", "sheet-3.png"):
        found = free_file(tmp_path / "sheet.png")
        assert found.name == expected
        found.write_text("")
    (tmp_path / "a.json").write_text("")
    assert [f.name for f in free_files(tmp_path, ("a.json", "b.html"))] == ["a-2.json", "b-2.html"]
    with pytest.raises(UsageError, match="is not empty"):
        require_empty(tmp_path)
    require_empty(tmp_path / "none")


def test_a_long_name_is_written_whole(tmp_path: Path) -> None:
    file = tmp_path / f"{'犬' * 82}.txt"
    with committed_file(file) as work:
        work.write_text("whole")
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


def test_paths_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert at_home(Path("~/x")) == Path("/home/me/x")
    assert as_text(Path(os.fsdecode(b"/caf\xe9"))) == "/caf\\xe9"
    assert as_text(Path("/ä 犬")) == "/ä 犬"
