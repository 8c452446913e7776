"""Injects faults into a studio at random moments, and looks after each at what is left: states, pictures, checkpoints.

nice python benchmarks/studio_faults.py --out results/studio_faults.json

Servers and workers are killed with SIGKILL, the disk is filled to the last byte, files vanish, a second server is
started on the same folder, all while trainings and drawings of a tiny random base run. `docs/studies/studio.md`
holds the table. Linux; with the right to mount the folder lies on a small tmpfs, which is filled; without it the
processes' limit of a file's size is set to nothing instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forking
from booth.core.commit import package_versions
from faulted import KINDS, PHOTOS, Campaign, Found


def prepare(forks: forking.Forks) -> None:
    """In the process that everything is forked from: a server there starts its jobs as forks, and samples are short."""
    import torch

    from booth.testing.toy import write_toy_base
    from booth.train import samples
    from booth.web import catalogue, keeper
    from booth.web.describe import describe

    torch.set_num_threads(1)
    samples.STEPS = 2
    write_toy_base(forks.place.parent / "base")
    catalogue._made = lambda: json.loads(json.dumps(describe(), default=str))  # type: ignore[attr-defined]
    keeper.subprocess = SimpleNamespace(Popen=forks.popen, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]


def plan(count: int, lot: random.Random) -> list[str]:
    """Which faults, in which order; shares as in KINDS."""
    whole = sum(KINDS.values())
    kinds = [k for k, share in KINDS.items() for _ in range(round(count * share / whole))]
    lot.shuffle(kinds)
    return kinds[:count]


def mounted(folder: Path, megabytes: int) -> bool:
    """Whether a tmpfs of this size could be mounted there."""
    told = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True
    )
    return told.returncode == 0


def table(found: list[Found]) -> list[dict[str, Any]]:
    """One line a kind of fault."""
    lines: list[dict[str, Any]] = []
    for kind in KINDS:
        of = [f for f in found if f.kind == kind]
        if of:
            seconds = [f.seconds for f in of]
            lines.append(
                {
                    "fault": kind, "injected": len(of), "false_states": sum(f.false_states for f in of),
                    "pictures_lost": sum(f.pictures_lost for f in of),
                    "checkpoints_lost": sum(f.checkpoints_lost for f in of),
                    "median_seconds": round(statistics.median(seconds), 2), "most_seconds": round(max(seconds), 2),
                }
            )  # fmt: skip
    return lines


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return told.stdout.strip()


def main() -> None:
    """Inject, look, write down."""
    parser = argparse.ArgumentParser(description="Inject faults into a studio, and look at what is left.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="after which no more are injected")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where to work; a new one in the system's place for such")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "BOOTH_STUDIO_TOKEN": ""}
    os.environ.pop("BOOTH_STUDIO_TOKEN")
    lot = random.Random(asked.seed)
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="booth-faults-", dir=asked.folder))
    home = folder / "home"
    home.mkdir()
    on_tmpfs = mounted(home, 256)
    loaded = forking.load(folder / "forks", prepare)
    began = time.time()
    campaign = Campaign(home, folder, forking.Forks(folder / "forks"), loaded, lot, on_tmpfs)
    try:
        campaign.open()
        for number, kind in enumerate(plan(asked.faults, lot), 1):
            if time.time() - began > 60 * asked.minutes:
                break
            found = campaign.fault(kind)
            print(f"{number:3} {kind:9} {found.what:44} {found.seconds:6.2f} s {'; '.join(found.problems)}", flush=True)
        ending = campaign.close()
    finally:
        campaign.end_all()
        os.kill(loaded, signal.SIGKILL)
        os.waitpid(loaded, 0)
        if on_tmpfs:
            subprocess.run(["umount", "-l", str(home)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "schema": 1, "faults": len(campaign.found), "table": table(campaign.found),
        "campaigns": [{"seed": asked.seed, "faults": len(campaign.found)}],
        "ending": ending,
        "problems": [p for f in campaign.found for p in f.problems], "photos": PHOTOS,
        "disk": "tmpfs filled to the last byte" if on_tmpfs else "limit of a file's size set to nothing",
        "seconds": round(time.time() - began), "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "commit": _commit(), "versions": package_versions(), "python": sys.version.split()[0],
    }  # fmt: skip
    text = json.dumps(told, indent=1) + "\n"
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")
    with contextlib.suppress(BrokenPipeError):
        sys.exit(1 if told["problems"] or ending["problems"] else 0)


if __name__ == "__main__":
    main()
