"""What it saves to teach K subjects in one pass through the frozen base, against one after the other.

    python benchmarks/together.py --out results/together.json

On the embedded base, with one thread. Counted is processor time a step of every run, in turns of one to eight runs, so
that what else the machine does counts little; a first few steps of each are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from booth.config import RunConfig
from booth.core.commit import package_versions
from booth.events import Event
from booth.families.quiet import hush
from booth.session import Session
from booth.train.together import train_together

RUNS = (1, 2, 4, 8)
WARM, STEPS = 2, 5  # left out, and made in all
KINDS: dict[str, dict[str, Any]] = {
    "lora, 4 photos a step": {"method": "lora", "settings": {"batch_size": 4}},
    "lora, 1 photo a step": {"method": "lora", "settings": {"batch_size": 1}},
    "textual_inversion, 4 photos a step": {"method": "textual_inversion", "settings": {"batch_size": 4}},
}
PHOTOS = Path(__file__).parents[1] / "src" / "booth" / "world" / "assets" / "demo"


class Times:
    """Processor time when the last of some runs has told a step."""

    def __init__(self, runs: int) -> None:
        self._runs, self._told = runs, dict[int, int]()
        self.at: list[float] = []

    def __call__(self, event: Event) -> None:
        if event.kind == "step":
            step = event.data["step"]
            self._told[step] = self._told.get(step, 0) + 1
            if self._told[step] == self._runs:
                self.at.append(time.process_time())


def measure(kind: dict[str, Any], runs: int, session: Session, home: Path) -> float:
    """Processor seconds of a step of each of so many runs."""
    settings = kind["settings"] | {"steps": STEPS}
    configs = [
        RunConfig(
            photos=[PHOTOS], noun="teapot", method=kind["method"], seed=i, settings=settings, device="cpu",
            out=home / f"{time.monotonic_ns()}-{i}", checkpoint_every=0,
        )
        for i in range(runs)
    ]  # fmt: skip
    times = Times(runs)
    found = train_together(configs, session=session, listeners=[[times]] * runs)
    assert all(not isinstance(one, Exception) for one in found), found
    return (times.at[-1] - times.at[WARM - 1]) / (STEPS - WARM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/together.json"))
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    hush()
    torch.set_num_threads(1)
    seconds: dict[str, dict[int, list[float]]] = {name: {runs: [] for runs in RUNS} for name in KINDS}
    memory: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as temporary, Session("embedded") as session:
        home = Path(temporary)
        os.environ["BOOTH_CACHE"] = str(home / "cache")
        for _ in range(asked.rounds):
            for name, kind in KINDS.items():
                for runs in RUNS:
                    seconds[name][runs].append(measure(kind, runs, session, home))
                    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                    memory.setdefault(runs, peak)  # in the first round the number of runs only rises
        loads = session.loads
    rows = [
        {
            "kind": name,
            "runs": runs,
            "cpu_seconds_of_a_step_of_all": round(median(seconds[name][runs]), 4),
            "cpu_seconds_of_a_step_of_one": round(median(seconds[name][runs]) / runs, 4),
            "times_as_fast_as_one_after_the_other": round(
                median(seconds[name][1]) / (median(seconds[name][runs]) / runs), 2
            ),
        }
        for name in KINDS
        for runs in RUNS
    ]
    result = {
        "about": {"versions": package_versions(), "threads": 1, "steps": STEPS, "rounds": asked.rounds},
        "load": list(os.getloadavg()),
        "loads_of_the_base": loads,
        "peak_bytes_of_the_process_by_runs": memory,
        "rows": rows,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
