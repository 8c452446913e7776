"""The commit protocol: whole or not at all, and every damage found."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from booth.core import commit
from booth.core.commit import committed, committed_file, discard, require_space, sweep, verify
from booth.core.errors import BadDataError, DamagedFileError, DiskFullError, UnsafeFileError

ABOUT = {"kind": "test", "step": 3}


def put(folder: Path, text: str = "hello", error: BaseException | None = None, needed: int = 0) -> Path:
    with committed(folder, ABOUT, needed) as work:
        (work / "a.txt").write_text(text)
        if error is not None:
            raise error
        (work / "sub").mkdir()
        (work / "sub" / "b.bin").write_bytes(bytes(range(9)))
    return folder


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 400, 600))


def test_a_committed_folder_holds_its_files_and_their_hashes(tmp_path: Path) -> None:
    manifest = verify(put(tmp_path / "x"))
    assert manifest["kind"] == "test"
    assert manifest["step"] == 3
    assert "torch" in manifest["versions"]
    assert manifest["files"]["sub/b.bin"]["bytes"] == 9
    assert manifest["files"]["a.txt"]["sha256"] == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert os.listdir(tmp_path) == ["x"]


def test_a_failure_in_the_block_leaves_what_was_there(tmp_path: Path) -> None:
    put(tmp_path / "x", "old")
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "x", "new", KeyboardInterrupt())
    verify(tmp_path / "x")
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    put(tmp_path / "x", "old")
    put(tmp_path / "x", "new")
    verify(tmp_path / "x")
    assert (tmp_path / "x" / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


def test_everything_is_on_the_disk_before_the_name_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(handle: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{handle}")).name.split(".tmp-")[0])
        fsync(handle)

    def recording_replace(source: Path, target: Path) -> None:
        events.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    put(tmp_path / "x")
    renamed = events.index("rename to x")
    assert set(events[:renamed]) == {"sync a.txt", "sync b.bin", "sync manifest.json", "sync sub", "sync x"}
    assert events.index("sync manifest.json") > max(events.index("sync a.txt"), events.index("sync b.bin"))
    assert events[renamed + 1 :] == [f"sync {tmp_path.name}"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "grow", "remove"])
@pytest.mark.parametrize("file", ["a.txt", "sub/b.bin"])
def test_any_damage_names_the_file(tmp_path: Path, file: str, damage: str) -> None:
    path = put(tmp_path / "x") / file
    data = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        case "truncate":
            path.write_bytes(data[:-1])
        case "grow":
            path.write_bytes(data + b"!")
        case _:
            path.unlink()
    with pytest.raises(DamagedFileError, match=path.name):
        verify(tmp_path / "x")


ODD = [f'{{"schema": 1, "files": {files}}}' for files in ("[]", '{"a.txt": {}}', '{"a.txt": []}')]


@pytest.mark.parametrize("content", [None, "", "[]", '{"schema": 1}', *ODD])
def test_a_folder_without_a_manifest_is_not_trusted(tmp_path: Path, content: str | None) -> None:
    manifest = put(tmp_path / "x") / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(DamagedFileError, match=r"manifest\.json"):
        verify(tmp_path / "x")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/../../outside"])
def test_a_manifest_may_not_point_outside(tmp_path: Path, name: str) -> None:
    manifest = put(tmp_path / "x") / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][name] = {"sha256": "0", "bytes": 1}
    manifest.write_text(json.dumps(content))
    with pytest.raises(UnsafeFileError, match="outside"):
        verify(tmp_path / "x")


def test_a_newer_schema_is_said_to_be_newer(tmp_path: Path) -> None:
    manifest = put(tmp_path / "x") / "manifest.json"
    manifest.write_text(json.dumps({"schema": 2, "versions": {"booth": "9.8.7"}, "otherwise": []}))
    with pytest.raises(BadDataError, match=r"schema version 2, written by booth 9\.8\.7.*pip install -U booth"):
        verify(tmp_path / "x")


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_sweeping_spares_the_living(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for name in (f"a.tmp-{dead_pid()}", f"b.tmp-{os.getpid()}", f"c.tmp-{child.pid}", "d", "e.tmp-x"):
            (tmp_path / name).mkdir()
        sweep(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [f"c.tmp-{child.pid}", "d", "e.tmp-x"]
    finally:
        child.communicate(b"\n")


def test_without_a_way_to_ask_every_other_process_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = dead_pid()
    assert not commit._is_alive(gone)
    monkeypatch.setattr(commit, "os", SimpleNamespace(name="nt", getpid=os.getpid))
    assert commit._is_alive(gone)
    assert not commit._is_alive(os.getpid())


def test_sweeping_for_one_name_leaves_the_others(tmp_path: Path) -> None:
    pid = dead_pid()
    for name in (f"a.tmp-{pid}", f"ab.tmp-{pid}"):
        (tmp_path / name).mkdir()
    sweep(tmp_path, "a")
    assert os.listdir(tmp_path) == [f"ab.tmp-{pid}"]


def test_killed_between_the_renames_of_a_replacement_the_former_comes_back(tmp_path: Path) -> None:
    pid = dead_pid()
    os.replace(put(tmp_path / "x", "old"), tmp_path / f"x.tmp-{pid}-old")
    os.replace(put(tmp_path / "x", "new"), tmp_path / f"x.tmp-{pid}")
    sweep(tmp_path)
    verify(tmp_path / "x")
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_discarded_folder_is_gone_at_once_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "x")
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)  # killed before the files are removed
    discard(folder)
    assert os.listdir(tmp_path) == [f"x.tmp-{os.getpid()}"]


def test_too_little_space_is_noticed_before_writing(tmp_path: Path, no_room: None) -> None:
    require_space(tmp_path / "not" / "yet", 600)
    with pytest.raises(DiskFullError, match="1,400 bytes are missing"), committed(tmp_path / "x", ABOUT, needed=2000):
        pytest.fail("nothing may be written")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_says_what_is_missing(tmp_path: Path, number: int) -> None:
    put(tmp_path / "x", "old")
    with pytest.raises(DiskFullError, match="900 bytes are missing"):
        put(tmp_path / "x", "x" * 100, OSError(number, os.strerror(number)), needed=1000)
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_another_trouble_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        put(tmp_path / "x", error=PermissionError(errno.EACCES, "no"))


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 100,000 bytes: a full disk that needs no privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def plain_bytes(file: Path) -> None:
    file.write_bytes(bytes(400_000))


def tensors(file: Path) -> None:
    save_file({"a": torch.zeros(100_000)}, file)


@pytest.mark.parametrize("write", [plain_bytes, tensors])
def test_a_real_file_size_limit_is_a_full_disk(
    tmp_path: Path, small_files: None, write: Callable[[Path], None]
) -> None:
    with pytest.raises(DiskFullError, match="bytes are missing"), committed(tmp_path / "x", ABOUT, 400_000) as work:
        write(work / "a")
    assert os.listdir(tmp_path) == []


def test_versions_name_what_is_installed() -> None:
    assert commit.package_versions()["torch"] == torch.__version__


def test_what_a_killed_process_leaves_of_a_file_is_hidden_and_goes(tmp_path: Path) -> None:
    left = tmp_path / f".dog.tmp-{dead_pid()}.png"
    left.write_bytes(b"half")
    other = tmp_path / f".cat.tmp-{dead_pid()}.png"
    other.write_bytes(b"half")
    with committed_file(tmp_path / "dog.png") as work:
        assert work.name.startswith(".")
        assert work.suffix == ".png"
        work.write_bytes(b"whole")
    assert sorted(os.listdir(tmp_path)) == [other.name, "dog.png"]
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["dog.png"]
