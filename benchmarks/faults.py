"""Disks that are full, fail or cannot be written, clocks that jump, and two at one folder.

    python benchmarks/faults.py --out results/faults.json     # needs a C compiler

A preloaded library has calls of write, fsync, rename or mkdir fail from some call on, below the work's folder alone.
Each attempt is a fork of one process, as in kills.py. It has to end well, with the bits of the work that met no fault,
or with one sentence that is not "an unexpected error"; then the fault goes away, the work is taken up again, and the
bits have to be the same.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
PRELOADED = "LD_PRELOAD"
CALLS = ("write", "fsync", "rename", "mkdir")
ERRORS = {"full disk": errno.ENOSPC, "input/output error": errno.EIO, "read-only": errno.EROFS}
PLACES = (1, 2, 4, 9, 20)  # from which call on it fails
UNCLEAR = "An unexpected error"


def preloaded(home: Path) -> None:
    """Start this script again with the library that has calls fail."""
    library = home / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.c", "-ldl"], check=True)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, PRELOADED: str(library)})


def attempt(work: Any, folder: Path, before: Callable[[], None]) -> tuple[int, str]:
    """Exit code and what is told of one attempt, in a process of its own in which `before` is done first."""
    from booth.cli.guard import explain

    told = folder.with_suffix(".told")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ["BOOTH_CACHE"] = str(folder / "cache")
            before()
            work.do(folder)
            code = 0
        except BaseException as error:
            os.environ.pop("FAULT_CALL", None)
            message, code = explain(error)
            told.write_text(str(message))
        finally:
            os._exit(code or 0)
    _, status = os.waitpid(pid, 0)
    text = told.read_text() if told.exists() else ""
    told.unlink(missing_ok=True)
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)), text


def tried(work: Any, home: Path, before: Callable[[Path], None], counts: Counter[str], faults: list[str]) -> None:
    """One fault, and the work taken up again without it."""
    folder = Path(tempfile.mkdtemp(dir=home))
    code, text = attempt(work, folder, lambda: before(folder))
    counts["tried"] += 1
    wrong = work.unreadable(folder)
    if code == 0:
        counts["recovered"] += 1
    elif code > 0 and text and not text.startswith(UNCLEAR):
        counts["one clear error"] += 1
    else:
        counts["unclear"] += 1
        faults.append(f"{work.name}: exit {code}: {text[:300]}")
    if code:
        code, text = attempt(work, folder, lambda: None)
        if code:
            faults.append(f"{work.name}: without the fault: {text[:300]}")
    right = code == 0 and work.result(folder) == work.expected
    counts["same bits afterwards"] += right
    counts["unreadable"] += len(wrong)
    faults += [f"{work.name}: {each}" for each in wrong] + ([] if right else [f"{work.name}: other bits"])
    shutil.rmtree(folder)


def failing(call: str, number: int, at: int) -> Callable[[Path], None]:
    """What sets a fault of the disk below a folder."""

    def before(folder: Path) -> None:
        os.environ |= {"FAULT_PREFIX": str(folder), "FAULT_AT": str(at), "FAULT_ERRNO": str(number)}
        os.environ["FAULT_CALL"] = call

    return before


def jumping(folder: Path) -> None:
    """A clock that is a day further, and then a day back, each time it is looked at."""
    real, looks = time.time, [0]

    def jumped() -> float:
        looks[0] += 1
        return real() + (86_400 if looks[0] % 2 else -86_400)

    time.time = jumped


def at_once(work: Any, home: Path, counts: Counter[str], faults: list[str]) -> None:
    """Two that do the same work in one folder: one does it, the other says why it does not, or finds it done."""
    folder = Path(tempfile.mkdtemp(dir=home))
    pid = os.fork()
    if pid == 0:
        code, _ = attempt(work, folder, lambda: None)
        os._exit(code)
    code, text = attempt(work, folder, lambda: time.sleep(0.05))
    _, status = os.waitpid(pid, 0)
    codes = {code, os.WEXITSTATUS(status)}
    counts["tried"] += 1
    if codes <= {0, 2}:
        counts["one clear error" if 2 in codes else "recovered"] += 1
    else:
        counts["unclear"] += 1
        faults.append(f"{work.name}: two at once: exits {codes}: {text[:300]}")
    again, _ = attempt(work, folder, lambda: None)
    right = again == 0 and work.result(folder) == work.expected
    counts["same bits afterwards"] += right
    faults += [] if right else [f"{work.name}: two at once: other bits"]
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    parser.add_argument("--minutes", type=float, default=600, help="stop after this time, with what was done")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        if PRELOADED not in os.environ:
            home = Path(tempfile.mkdtemp())  # outlives this process image
            preloaded(home)
        run(asked, home)


def run(asked: argparse.Namespace, home: Path) -> None:
    """All faults on a training, an export and a fleet."""
    import torch

    import kills
    from booth.core.commit import package_versions
    from booth.session import Session
    from booth.testing.toy import write_toy_base

    kills.hush()
    torch.set_num_threads(1)
    began = time.monotonic()
    os.environ["BOOTH_CACHE"] = str(home / "cache")
    photos = kills.write_photos(home / "photos")
    session = Session(str(write_toy_base(home / "base")))
    with session.model():
        pass
    works = [kills.training("lora", session, photos), kills.fleet(session, photos)]
    works += [kills.training("dreambooth", session, photos), kills.exporting(session, photos, home)]
    for work in works:
        kills.measure(work, home)
    counts: dict[str, Counter[str]] = {}
    faults: list[str] = []

    def count(kind: str) -> Counter[str]:
        return counts.setdefault(kind, Counter())

    for work in works:
        at_once(work, home, count("two at one folder"), faults)
        tried(work, home, jumping, count("a clock that jumps"), faults)
    reached: list[int] = []
    for at in PLACES:
        if time.monotonic() - began < 60 * asked.minutes:
            reached.append(at)
        for work in works:
            for name, number in ERRORS.items():
                for call in CALLS if name != "read-only" else ("mkdir", "rename"):
                    if time.monotonic() - began < 60 * asked.minutes:
                        tried(work, home, failing(call, number, at), count(f"{name} at {call}"), faults)
    result = {
        "about": {"versions": package_versions(), "calls": reached, "works": [w.name for w in works]},
        "load": list(os.getloadavg()),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "rows": [{"fault": kind, **counted} for kind, counted in counts.items()],
        "total": dict(sum(counts.values(), Counter[str]())),
        "told": faults[:60],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["total"]))


if __name__ == "__main__":
    main()
