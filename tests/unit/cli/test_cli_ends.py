"""What ends a run, and what can be known before one: tried on real processes, whose streams and signals are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import booth
from booth.cli.streams import Lasting

BOOTH = [sys.executable, "-c", "from booth.cli.app import main; main()"]


def environment(**more: str) -> dict[str, str]:
    here = str(Path(booth.__file__).parent.parent)  # of these tests, whatever is installed
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": here, **more}


def started(*words: object, **how: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*BOOTH, *map(str, words)], env=environment(), **how)  # type: ignore[call-overload]


def await_checkpoint(process: subprocess.Popen[bytes], out: Path) -> None:
    while process.poll() is None and not any(out.with_name(f"{out.name}.run").glob("checkpoints/ckpt-*")):
        time.sleep(0.01)


def training(toy_base: Path, photos: Path, out: Path, **how: object) -> subprocess.Popen[bytes]:
    words = (
        "--class",
        "thing",
        "--base",
        toy_base,
        "--out",
        out,
        "--steps",
        100_000,
        "--checkpoint-every",
        5,
        "--set",
        "prior_weight=0",
    )
    return started("train", photos, *words, **how)


@pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")
def test_a_closed_terminal_and_a_lost_reader_leave_a_checkpoint(
    toy_base: Path, photos_folder: Path, tmp_path: Path
) -> None:
    closed = training(toy_base, photos_folder, tmp_path / "closed", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    await_checkpoint(closed, tmp_path / "closed")
    assert closed.stderr is not None
    closed.stderr.close()  # whoever read it goes away in mid-training
    count = len(list((tmp_path / "closed.run" / "checkpoints").iterdir()))
    time.sleep(0.3)
    assert closed.poll() is None, "training goes on"
    closed.send_signal(signal.SIGHUP)
    assert closed.wait(60) == 129
    assert count
    assert any((tmp_path / "closed.run" / "checkpoints").glob("ckpt-*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "PHOTOS is missing"),
        (["train", "nowhere", "--class", "dog"], "nowhere does not exist"),
        (["train", ".", "--class", "dog", "--set", "colour=red"], "There is no setting 'colour'"),
        (["train", ".", "--class", "dog", "--method", "lorra"], "Did you mean 'lora'?"),
        (["generate", "a photo of a dog"], "is no concept's folder"),
        (["generate"], "Name a concept's folder"),
        (["generate", "a", "b", "c"], "Too many words"),
        (["generate", "--base", "embedded", "a dog", "--out", "file"], "is a file"),
    ],
)
def test_a_usage_error_is_told_before_torch_is_loaded(words: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spy = "import sys, atexit; atexit.register(lambda: print('LOADED' if 'torch' in sys.modules else 'LIGHT'))"
    code = f"{spy}\nfrom booth.cli.app import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert run.returncode in (2, 65)
    assert told in run.stderr
    assert run.stdout.strip().endswith("LIGHT")


def test_a_letter_that_stdout_lacks_is_replaced_and_a_names_bytes_are_kept(tmp_path: Path) -> None:
    code = "from booth.cli.streams import make_lasting; make_lasting(); print('ä 犬 \\udce9')"
    for encoding, expected in (("ascii", b"? ? \xe9\n"), ("utf-8", "ä 犬 ".encode() + b"\xe9\n")):
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment(PYTHONIOENCODING=encoding), capture_output=True
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, expected, b"")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_result_that_nobody_reads_any_more_is_no_failure() -> None:
    code = (
        "from booth.cli.streams import make_lasting; make_lasting(); import sys, time; time.sleep(0.3)\n"
        "print('x' * 100_000, flush=True); print('y', file=sys.stderr, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(30) == 0


def test_a_full_disk_under_a_log_is_silent_and_under_a_result_is_not() -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def fileno(self) -> int:
            raise OSError

    assert Lasting(Full(), whatever_fails=True).write("x") == 1  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        Lasting(Full(), whatever_fails=False).write("x")  # type: ignore[arg-type]
