"""How long a run that is asked to end takes until what it learned is safe and it is gone, asked at random moments.

    python benchmarks/stops.py --out results/stops.json

Runs of the embedded base, asked at a moment drawn evenly from zero to what a whole training took: while it imports,
loads, encodes, trains, saves, draws samples or writes. What is counted ends when the process has ended. Then is looked
at what lies there: the newest checkpoint has to verify, and to be of the last step that was told.

- training: SIGTERM to `booth train`, of several methods in turn;
- fleet: SIGTERM to the driver of `booth fleet`, whose worker saves and brings its checkpoint to its place;
- node: a training heeds the notice of a cluster that its node is taken away, as workers on Ray do. The cluster's answer
  is stood in for by a file that appears; the process is a fork of this one, which has the libraries loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import kills
from booth import __version__
from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.commit import committed_file, package_versions, verify
from booth.core.errors import BoothError
from booth.events import read_events
from booth.executor import on_ray
from booth.families.quiet import hush
from booth.train.folders import CHECKPOINTS, EVENTS, work_folder
from booth.train.run import train
from booth.world import demo

PROMISED = 30.0  # seconds, of which clouds give notice
STEPS = 12
TAUGHT = ("lora", "dreambooth", "textual_inversion")
SETTINGS: dict[str, dict[str, Any]] = {"dreambooth": {"prior": "prediction"}}
ENDS = (143, -signal.SIGTERM, 0)  # asked to end, before anybody listened, and done by then
LONGEST = 600.0  # seconds after which a run that does not end is killed, and that is told


@dataclass
class Kind:
    """A way of being asked to end."""

    name: str
    begin: Callable[[Path, str], int]  # the run in a folder, of a method; its process id
    ask: Callable[[Path, int], None]  # it to end
    methods: tuple[str, ...] = TAUGHT


def settings_of(method: str) -> dict[str, Any]:
    """A short run; checkpoints come when they come."""
    return {"steps": STEPS} | SETTINGS.get(method, {})


def command(folder: Path, *words: str) -> int:
    """A process of the command line, in the folder."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "booth", *words], cwd=folder, stdout=said, stderr=said, process_group=0
        )
    return process.pid


def training(folder: Path, method: str) -> int:
    """`booth train` on the bundled photos."""
    given = [f"--set={name}={value}" for name, value in settings_of(method).items()]
    return command(folder, "train", "--class=dog", f"--method={method}", "--out=out", *given, "--", str(demo.photos()))


def fleet(folder: Path, method: str) -> int:
    """`booth fleet` of one subject on one worker."""
    (folder / "manifest.csv").write_text(f"photos,class,method\n{demo.photos()},dog,{method}\n")
    given = [f"--set={name}={value}" for name, value in settings_of(method).items()]
    return command(folder, "fleet", "run", "manifest.csv", "--out=place", "--workers=1", "--no-evaluation", *given)


def node(folder: Path, method: str) -> int:
    """A training that heeds a cluster's notice, as `booth.executor.on_ray.Actor` has it."""

    def do() -> None:
        token = CancelToken()
        on_ray.is_draining = lambda: (folder / "notice").exists()
        threading.Thread(target=on_ray.heed, args=(token,), daemon=True).start()
        about = {"photos": [demo.photos()], "noun": "dog", "method": method, "settings": settings_of(method)}
        train(RunConfig(**about, out=folder / "out"), cancel=token)

    return kills.fork(do, folder / "said")


def terminate(folder: Path, pid: int) -> None:
    """SIGTERM."""
    os.kill(pid, signal.SIGTERM)


def give_notice(folder: Path, pid: int) -> None:
    """The file that stands in for the cluster's answer."""
    (folder / "notice").touch()


def ended(pid: int, patience: float) -> int | None:
    """The exit code of a process, negative for a signal; None if it does not end in time."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def run_folders(folder: Path) -> list[Path]:
    """Where checkpoints lie: those of a run, or those that a fleet brought to its place."""
    return [p for p in folder.rglob(CHECKPOINTS) if p.is_dir()]


def looked_at(folder: Path) -> dict[str, Any]:
    """What of the run is there: the last step that was told, the newest checkpoint's, and what does not verify."""
    log = work_folder(folder / "out") / EVENTS
    events = list(read_events(log)) if log.is_file() else []
    steps = [event.done for event in events if event.kind == "step"]
    found: dict[int, list[str]] = {}
    for checkpoint in (c for place in run_folders(folder) for c in place.glob("ckpt-*") if ".tmp-" not in c.name):
        number = int(checkpoint.name.rpartition("-")[2])
        try:
            verify(checkpoint)
            found.setdefault(number, [])
        except (BoothError, OSError, ValueError) as error:
            found.setdefault(number, []).append(f"{checkpoint.name}: {error}")
    return {
        "told": steps[-1] if steps else 0,
        "safe": max((n for n, wrong in found.items() if not wrong), default=0),
        "unreadable": [text for wrong in found.values() for text in wrong],
        "phase": events[-1].phase if events else "",
    }


def once(kind: Kind, method: str, home: Path, moment: float | None) -> dict[str, Any]:
    """One run, asked to end at that moment if there is one."""
    folder = Path(tempfile.mkdtemp(dir=home))
    began = time.monotonic()
    pid = kind.begin(folder, method)
    code = ended(pid, LONGEST if moment is None else moment)
    if code is None and moment is not None:
        phase = looked_at(folder)["phase"]
        asked = time.monotonic()
        kind.ask(folder, pid)
        code = ended(pid, LONGEST)
        found = {"seconds": round(time.monotonic() - asked, 2), **looked_at(folder), "phase": phase}
    else:
        found = {"seconds": round(time.monotonic() - began, 2), "whole": True}
    if code is None:
        os.killpg(pid, signal.SIGKILL) if kind.begin is not node else os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    found |= {"method": method, "moment": moment and round(moment, 2), "code": code}
    if code not in ENDS:
        found["said"] = (folder / "said").read_text(errors="replace")[-500:]
    shutil.rmtree(folder, ignore_errors=True)
    return found


def row(kind: str, stops: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of all that were asked in one way."""
    seconds = [stop["seconds"] for stop in stops]
    lost = [stop["told"] - stop["safe"] for stop in stops if kind != "fleet" and stop["code"]]
    return {
        "asked": kind,
        "runs": len(stops),
        "median": round(statistics.median(seconds), 1),
        "longest": round(max(seconds), 1),
        f"over {PROMISED:g} s": sum(s > PROMISED for s in seconds),
        "with steps to save": sum(bool(stop["told"] or stop["safe"]) for stop in stops),
        "steps lost": sum(lost),
        "unreadable": sum(len(stop["unreadable"]) for stop in stops),
        "ended otherwise": sum(stop["code"] not in ENDS for stop in stops),
    }


def joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one."""
    stops: dict[str, list[dict[str, Any]]] = {}
    for name, found in (each for result in results for each in result["stops"].items()):
        stops[name] = stops.get(name, []) + found
    about = results[0]["about"] | {
        name: [result["about"][name] for result in results] for name in ("seed", "whole_seconds")
    }
    whole = {"minutes": round(sum(result["minutes"] for result in results), 1)}
    return {**results[0], **whole, "about": about, "rows": [row(n, s) for n, s in stops.items()], "stops": stops}


def in_turn(kinds: Sequence[Kind], runs: Sequence[int]) -> list[tuple[Kind, str]]:
    """All runs with their methods, the kinds evenly mixed, so that each has some if time runs out."""
    placed = [
        ((i + 0.5) / count, kind, kind.methods[i % len(kind.methods)])
        for kind, count in zip(kinds, runs, strict=True)
        for i in range(count)
    ]
    return [(kind, method) for _, kind, method in sorted(placed, key=lambda each: each[0])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs=3, default=(12, 3, 5), help="of a training, a fleet and a node")
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time, with what was done")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/stops.json"))
    parser.add_argument("--whole", type=float, help="seconds that a whole training takes, if they are known")
    parser.add_argument("--join", type=Path, nargs="+", help="results of several runs of this, to be put together")
    asked = parser.parse_args()
    if asked.join:
        told = joined([json.loads(file.read_bytes()) for file in asked.join])
        asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return
    hush()
    began, moments = time.monotonic(), random.Random(asked.seed)
    kinds = (
        Kind("training", training, terminate),
        Kind("fleet", fleet, terminate, ("lora",)),
        Kind("node", node, give_notice),
    )
    stops: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        os.environ["BOOTH_CACHE"] = str(home / "cache")
        life = asked.whole or once(kinds[0], TAUGHT[0], home, None)["seconds"]
        for kind, method in in_turn(kinds, asked.runs):
            while time.monotonic() - began < 60 * asked.minutes:
                stop = once(kind, method, home, moments.uniform(0, life))
                if "whole" in stop:  # it had ended by then
                    continue
                stops.setdefault(kind.name, []).append(stop)
                result = {
                    "about": {
                        "booth": __version__, "versions": package_versions(), "seed": asked.seed, "steps": STEPS,
                        "methods": list(TAUGHT), "promised_seconds": PROMISED,
                        "whole_seconds": life,
                    },
                    "load": list(os.getloadavg()),
                    "cores": os.cpu_count(),
                    "minutes": round((time.monotonic() - began) / 60, 1),
                    "rows": [row(name, found) for name, found in stops.items()],
                    "stops": stops,
                }  # fmt: skip
                asked.out.parent.mkdir(parents=True, exist_ok=True)
                with committed_file(asked.out) as work:
                    work.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
                print(json.dumps({"kind": kind.name, **stop}), flush=True)
                break


if __name__ == "__main__":
    main()
