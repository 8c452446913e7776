"""How often the base is loaded, and how much memory is taken at most, by many runs on one base and by one of them.

    python benchmarks/one_base.py --out results/one_base.json

Each kind of work is a process of its own, on the embedded base, with few steps: what is counted does not depend on how
long it goes on. The peak is the largest resident set of the process, of which most is the libraries; that of the
imports alone is told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from booth import session as sessions
from booth.compare.budget import Budget
from booth.compare.course import Race
from booth.compare.race import run_race
from booth.compare.tune import tune
from booth.config import RunConfig
from booth.core.commit import package_versions
from booth.evaluate.protocol import Protocol
from booth.evaluate.run import evaluate
from booth.executor.here import ThisProcess
from booth.families.quiet import hush
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import read_manifest
from booth.fleet.place import Folder
from booth.session import Session
from booth.train.run import train

PHOTOS = Path(__file__).parents[1] / "src" / "booth" / "world" / "assets" / "demo"
METHODS = ("lora", "textual_inversion", "dreambooth")  # the last one trains every weight, and takes the most
STEPS = 2
PROTOCOL = Protocol(("a {} in the snow",), "file", (0,), drift=2, steps=1)
SETTINGS = {"steps": STEPS, "batch_size": 4}


def asked(home: Path, method: str, **more: Any) -> RunConfig:
    """One run."""
    prior = {"prior_weight": 0.0} if method == "dreambooth" else {}
    known = {"photos": [PHOTOS], "noun": "teapot", "method": method, "settings": SETTINGS | prior}
    return RunConfig(**(known | {"out": home / "out", "device": "cpu"} | more))


def one_run(home: Path) -> None:
    """A run of the method that takes the most, and its evaluation."""
    with Session("embedded") as session:
        concept = train(asked(home, "dreambooth"), samples=False, session=session)
        evaluate(concept, PROTOCOL, home / "pictures", session=session, any_class=True)


def race(home: Path) -> None:
    """Three methods, two trainings each."""
    settings = {"dreambooth": {"prior_weight": 0.0}}
    run_race(
        Race([PHOTOS], "teapot", home / "race", PROTOCOL, methods=METHODS, budget=Budget(STEPS), settings=settings)
    )


def tuning(home: Path) -> None:
    """Fifteen trainings, each of which leaves a photo out."""
    tune(asked(home, "lora"))


def fleet(home: Path) -> None:
    """Six runs of a worker."""
    for i in range(6):
        (home / "photos" / f"subject-{i}").mkdir(parents=True)
        for file in sorted(PHOTOS.glob("*.png"))[: 3 + i % 3]:
            (home / "photos" / f"subject-{i}" / file.name).write_bytes(file.read_bytes())
    entries = read_manifest(home / "photos", None, {"noun": "teapot"}, [f"{k}={v}" for k, v in SETTINGS.items()])
    with ThisProcess() as here:
        run_fleet(entries, Fleet(evaluate=False), Folder(home / "place"), here, lambda text: None)


WORKS: dict[str, Callable[[Path], None]] = {
    "imports alone": lambda home: None,
    "one run": one_run,
    "race": race,
    "tuning": tuning,
    "fleet": fleet,
}


def alone(name: str) -> None:
    """In a process of its own: do it and tell what it took."""
    hush()
    loads: list[str] = []
    load = sessions.load_family

    def counting(base: str, *rest: Any) -> Any:
        loads.append(base)
        return load(base, *rest)

    sessions.load_family = counting
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["BOOTH_CACHE"] = str(Path(temporary) / "cache")
        WORKS[name](Path(temporary))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"work": name, "loads": len(loads), "peak_bytes": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/one_base.json"))
    parser.add_argument("--work", choices=WORKS, help="this one alone, in this process")
    asked = parser.parse_args()
    if asked.work:
        alone(asked.work)
        return
    rows: list[dict[str, Any]] = []
    for name in WORKS:
        command = [sys.executable, __file__, "--work", name]
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    one = next(row["peak_bytes"] for row in rows if row["work"] == "one run")
    rows = [row | {"of_one_run": round(row["peak_bytes"] / one, 3)} for row in rows]
    result = {"about": {"versions": package_versions(), "methods": METHODS, "steps": STEPS}, "rows": rows}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
