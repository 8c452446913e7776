"""What two workers make of eight subjects: seconds by one and by two, of plain trainings, of a fleet, and on Ray.

    python benchmarks/fleet_scaling.py --out results/fleet_scaling.json

LoRA on the embedded base, each training at one thread, nothing is evaluated or kept from one measurement for the next.
Plain is `booth.train.run.train` on a base that is held, in one process, or in two that do half of the subjects each.
Two trainings come before the clock starts. Rounds go through all in turn, and medians are told. Run it
on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from booth.core.commit import package_versions
from booth.executor.workers import make_executor
from booth.families.quiet import hush
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry, read_manifest
from booth.fleet.place import Folder
from booth.session import Session
from booth.train.run import train
from fleet_cost import SUBJECTS, write_subjects

STEPS = 20
PATIENCE = 600  # seconds that processes wait for each other
WAYS = ("plain 1", "fleet 1", "plain 2", "fleet 2", "fleet ray:1", "fleet ray:2")


def teach(entries: Sequence[Entry], warm: Sequence[Entry], out: Path, ready: Callable[[], object]) -> None:
    """Train `warm`, say that it is `ready`, and train the entries one after the other."""
    torch.set_num_threads(1)
    hush()
    with Session(entries[0].config.base) as session:
        for part, asked in (("warm", warm), ("timed", entries)):
            if part == "timed":
                ready()
            for entry in asked:
                config = entry.config.model_copy(update={"out": out / part / entry.subject})
                train(config, samples=False, session=session)


def in_process(entries: Sequence[Entry], warm: Sequence[Entry], out: Path, barrier: Barrier) -> None:
    """A half of the subjects, in a process of its own."""
    teach(entries, warm, out, lambda: barrier.wait(PATIENCE))


def plain(count: int, entries: Sequence[Entry], warm: Sequence[Entry], out: Path) -> float:
    """Seconds that so many processes take."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count + 1)
    halves = [(entries[i::count], warm, out / str(i), barrier) for i in range(count)]
    processes = [context.Process(target=in_process, args=half) for half in halves]
    for process in processes:
        process.start()
    barrier.wait(PATIENCE)
    began = time.perf_counter()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    return time.perf_counter() - began


def fleet(workers: str, entries: Sequence[Entry], warm: Sequence[Entry], out: Path) -> float:
    """Seconds that a fleet by these workers takes, once they have trained `warm`."""
    with make_executor(workers) as executor:
        run_fleet(warm, Fleet(evaluate=False), Folder(out / "warm"), executor, lambda _: None)
        began = time.perf_counter()
        summary = run_fleet(entries, Fleet(evaluate=False), Folder(out / "timed"), executor, lambda _: None)
        seconds = time.perf_counter() - began
    assert len(summary.done) == len(entries), summary.failed
    return seconds


def measured(way: str, home: Path, photos: Path) -> float:
    """Seconds of one way, which finds nothing that another one kept."""
    os.environ["BOOTH_CACHE"] = str(home / "cache")
    settings = [f"steps={STEPS}", "checkpoint_every=0"]
    entries = read_manifest(photos, None, {"noun": "dog"}, settings)
    warm = read_manifest(photos, None, {"noun": "dog"}, [*settings, "steps=2"])[:2]
    kind, _, workers = way.partition(" ")
    if kind == "plain":
        return plain(int(workers), entries, warm, home)
    return fleet(workers, entries, warm, home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/fleet_scaling.json"))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    hush()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    load = os.getloadavg()
    for _ in range(asked.rounds):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as temporary:
                photos = write_subjects(Path(temporary) / "photos")
                seconds[way].append(round(measured(way, Path(temporary), photos), 2))
            print(way, seconds[way][-1], flush=True)
    middle = {way: statistics.median(values) for way, values in seconds.items()}
    result = {
        "about": {"versions": package_versions(), "subjects": SUBJECTS, "steps": STEPS, "cores": os.cpu_count()},
        "seconds": seconds,
        "overhead": {  # of the executor and the place, beside the same work without them
            f"fleet {name}": round(middle[f"fleet {name}"] / middle[f"plain {count}"] - 1, 3)
            for name, count in (("1", 1), ("ray:1", 1), ("2", 2), ("ray:2", 2))
        },
        "efficiency": {  # of two, beside one that does the same work
            "plain": round(middle["plain 1"] / middle["plain 2"] / 2, 3),
            "fleet": round(middle["fleet 1"] / middle["fleet 2"] / 2, 3),
            "fleet, ray": round(middle["fleet ray:1"] / middle["fleet ray:2"] / 2, 3),
        },
        "load": list(load),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
