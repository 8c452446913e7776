"""Nothing finished or unfinished is ever overwritten, and two runs never share a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from booth.core.cache import cache_folder
from booth.core.errors import UsageError
from booth.core.process import is_running
from booth.train.folders import RunFolder, refuse_to_overwrite, work_folder


def test_an_empty_or_absent_folder_is_fine(tmp_path: Path) -> None:
    refuse_to_overwrite(tmp_path / "out", resume=False)
    (tmp_path / "out").mkdir()
    refuse_to_overwrite(tmp_path / "out", resume=False)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "."])
def test_what_is_not_ours_is_never_touched(tmp_path: Path, resume: bool, name: str) -> None:
    out = tmp_path / "out"
    if name == ".":
        out.write_text("a file")
    else:
        out.mkdir()
        (out / name).write_text("mine")
    with pytest.raises(UsageError, match="`out`"):
        refuse_to_overwrite(out, resume)


def test_a_finished_concept_is_only_resumed(tmp_path: Path) -> None:
    (tmp_path / "concept.json").write_text("{}")
    refuse_to_overwrite(tmp_path, resume=True)
    with pytest.raises(UsageError, match=r"finished concept.*`out`"):
        refuse_to_overwrite(tmp_path, resume=False)


def test_an_unfinished_run_is_only_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (work_folder(out) / "checkpoints" / "ckpt-000003").mkdir(parents=True)
    refuse_to_overwrite(out, resume=True)
    with pytest.raises(UsageError, match=r"unfinished run.*`resume`"):
        refuse_to_overwrite(out, resume=False)


def test_a_run_without_checkpoints_has_nothing_to_lose(tmp_path: Path) -> None:
    (work_folder(tmp_path / "out") / "checkpoints").mkdir(parents=True)
    refuse_to_overwrite(tmp_path / "out", resume=False)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    code = "\n".join(
        [
            "from pathlib import Path",
            "from booth.train.folders import RunFolder",
            f"held = RunFolder(Path({str(tmp_path / 'out')!r}))",
            "print('in', flush=True)",
            "input()",
        ]
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        held = json.loads((tmp_path / "out.run" / "lock").read_text())
        assert is_running(held)
        with pytest.raises(UsageError, match=r"Another run.*out\.run"):
            RunFolder(tmp_path / "out")
        assert json.loads((tmp_path / "out.run" / "lock").read_text()) == held
        other.kill()  # the lock goes with its process, however it ends
    assert not is_running(held)
    folder = RunFolder(tmp_path / "out")
    assert folder.path == tmp_path / "out.run"
    folder.release()


def test_leftovers_of_killed_runs_are_cleared(tmp_path: Path) -> None:
    (tmp_path / f"out.tmp-{os.getpid()}").mkdir()
    (tmp_path / f"other.tmp-{os.getpid()}").mkdir()
    folder = RunFolder(tmp_path / "out")
    assert not (tmp_path / f"out.tmp-{os.getpid()}").exists()
    assert (tmp_path / f"other.tmp-{os.getpid()}").exists()
    folder.remove()
    assert not work_folder(tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_place_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        RunFolder(tmp_path / "out")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.run").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        RunFolder(tmp_path / "out")


def test_the_cache_can_be_put_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("BOOTH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/booth")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "booth"
