"""What a fleet costs beside its trainings: processor time, requests to its place and bytes, by run.

    python benchmarks/fleet_cost.py --out results/fleet_cost.json

Eight subjects on a tiny random base, one after the other in this process, on one base that is held: as single runs,
and as a fleet that measures nothing. Processor time and not wall time, so that other programs on the machine do not
count; the difference does not depend on how long a training takes, so that it is told in seconds a run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from PIL import Image

import kills
from booth.core.commit import package_versions
from booth.events import Event
from booth.executor.here import ThisProcess
from booth.fleet import work
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import read_manifest
from booth.fleet.place import Folder
from booth.session import Session
from booth.testing.toy import write_toy_base
from booth.train.run import train

SUBJECTS = 8
STEPS = 40


class Counting(Folder):
    """A folder that counts what a bucket would be asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.requests: Counter[str] = Counter()
        self.sent = 0

    def read(self, name: str) -> bytes | None:
        self.requests["GET"] += 1
        return super().read(name)

    def write(self, name: str, data: bytes) -> None:
        self.requests["PUT"] += 1
        self.sent += len(data)
        super().write(name, data)

    def put(self, file: Path, name: str) -> None:
        self.requests["PUT"] += 1
        self.sent += file.stat().st_size
        super().put(file, name)

    def get(self, name: str, file: Path) -> None:
        self.requests["GET"] += 1
        super().get(name, file)

    def names(self, under: str = "") -> list[str]:
        self.requests["LIST"] += 1
        return super().names(under)

    def remove(self, *names: str) -> None:
        self.requests["DELETE"] += len(names)
        super().remove(*names)


def write_subjects(folder: Path) -> Path:
    """Four photos of each of eight subjects."""
    for number in range(SUBJECTS):
        home = folder / f"subject-{number}"
        home.mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (64, 64), (30 * number, 60 * i, 90)).save(home / f"{i}.png")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/fleet_cost.json"))
    asked = parser.parse_args()
    kills.hush()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        os.environ["BOOTH_CACHE"] = str(home / "cache")
        photos, base = write_subjects(home / "photos"), str(write_toy_base(home / "base"))
        given: dict[str, Any] = {"noun": "dog", "base": base, "checkpoint_every": STEPS // 2}
        entries = read_manifest(photos, None, given, [f"steps={STEPS}"])
        with Session(base) as session:
            start = session_time = time.process_time()
            for entry in entries:  # a first one each, so that nothing is imported while it is counted
                if entry is entries[1]:
                    start = time.process_time()
                out = home / "single" / entry.subject
                train(entry.config.model_copy(update={"out": out}), samples=False, session=session)
            single = (time.process_time() - start) / (SUBJECTS - 1)
        began = {"start": 0.0, "first": 0.0}
        place = Counting(home / "place")
        loads: list[int] = []

        def heard(event: Event) -> None:
            if event.kind == "start":
                now = time.process_time()
                began["first"] = began["first"] or (now if loads else 0.0)
                loads.append(1)

        work.open_place = lambda url: place  # what a worker asks counts too
        with ThisProcess(heard) as here:
            summary = run_fleet(entries, Fleet(evaluate=False), place, here, lambda text: None)
            fleet = (time.process_time() - began["first"]) / (SUBJECTS - 1)
            held = here._resident._held["base"][1]
        assert len(summary.done) == SUBJECTS
        result = {
            "about": {"versions": package_versions(), "subjects": SUBJECTS, "steps": STEPS},
            "cpu_seconds_of_a_single_run": round(single, 3),
            "cpu_seconds_of_a_run_in_a_fleet": round(fleet, 3),
            "cpu_seconds_of_the_fleet_by_run": round(fleet - single, 3),
            "loads_of_the_base": held.loads,
            "requests_by_run": {kind: round(n / SUBJECTS, 1) for kind, n in sorted(place.requests.items())},
            "bytes_sent_by_run": round(place.sent / SUBJECTS),
            "load": list(os.getloadavg()),
            "cpu_seconds_before": round(session_time, 1),
        }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
