"""SIGKILL at random moments, over all methods and stages of the work, and what is found after each.

    python benchmarks/kills.py --kills 1000 --out results/kills.json

One process imports everything and loads a tiny random base; each attempt is a fork of it that takes the work up as a
user would, with --resume, and is killed after a time drawn evenly from zero to what the whole work takes. After each
kill is looked at what lies there:

- unreadable: a checkpoint, concept, export, race or fleet that is there under its own name and does not verify;
- silent restart: an attempt that took its first step elsewhere than the newest whole checkpoint is;
- wrong resume: once an attempt ends by itself, tensors whose bits are not those of the work that was never killed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from booth import __version__
from booth.compare.budget import Budget
from booth.compare.course import Race
from booth.compare.race import run_race
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.commit import committed_file, package_versions, verify
from booth.core.errors import BoothError
from booth.evaluate.protocol import Protocol
from booth.events import read_events
from booth.executor.here import ThisProcess
from booth.export.run import export
from booth.families.quiet import hush
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import read_manifest
from booth.fleet.place import Folder
from booth.registry import METHODS
from booth.session import Session
from booth.testing.toy import write_toy_base
from booth.train.folders import CHECKPOINTS, EVENTS, work_folder
from booth.train.run import train

STEPS = 4
SHORT = {"class_pictures": 4, "token_steps": 2}  # where a method has them
WHOLE = 1.15  # of the measured time of the work: up to there a kill may come


@dataclass
class Work:
    """Something that is done in a folder and can be killed."""

    name: str
    do: Callable[[Path], None]  # takes it up where it is
    unreadable: Callable[[Path], list[str]]  # what is there and does not verify
    result: Callable[[Path], dict[str, str]]  # the bits, once it is done
    steps: Callable[[Path], list[str]] = lambda folder: []  # attempts that began elsewhere than they had to
    seconds: float = 0.0
    expected: dict[str, str] = field(default_factory=dict[str, str])


def bits(folder: Path, pattern: str = "*.safetensors") -> dict[str, str]:
    """The hash of every tensor below a folder."""
    return {
        f"{file.relative_to(folder)}:{name}": hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        for file in sorted(folder.rglob(pattern))
        for name, tensor in load_file(file).items()
    }


def training(method: str, session: Session, photos: Path) -> Work:
    """A training that saves after every step, and the writing of its concept."""
    fields = METHODS[method].Config.model_fields
    settings = {"steps": STEPS, "batch_size": 2} | {key: value for key, value in SHORT.items() if key in fields}
    about = {"photos": [photos], "noun": "dog", "method": method, "base": session.base, "checkpoint_every": 1}
    if METHODS[method].follows_control:
        settings["control"] = "scribble"

    def do(folder: Path) -> None:
        config = RunConfig(**about, out=folder / "out", resume=True, settings=settings)
        train(config, samples=False, session=session)

    return Work(
        f"train {method}", do, lambda f: of_run(f / "out"), lambda f: bits(f / "out"), lambda f: began(f / "out")
    )


def of_run(out: Path) -> list[str]:
    """Of a run: its whole checkpoints and its concept, as far as they are there."""
    found: list[str] = []
    for checkpoint in (work_folder(out) / CHECKPOINTS).glob("ckpt-*"):
        if ".tmp-" not in checkpoint.name:
            found += fails(lambda checkpoint=checkpoint: verify(checkpoint), checkpoint)
    if out.exists():
        found += fails(lambda: Concept.load(out), out)
    return found


def fails(check: Callable[[], Any], what: Path) -> list[str]:
    """What went wrong, if something did."""
    try:
        check()
    except (BoothError, OSError, ValueError, KeyError) as error:
        return [f"{what.name}: {type(error).__name__}: {error}"]
    return []


def began(out: Path) -> list[str]:
    """Plans that began elsewhere than at the last checkpoint that was told of before them, or one beyond it.

    A checkpoint may be safe before it is told of, and what was told of one is safe.
    """
    log = work_folder(out) / EVENTS
    log = log if log.is_file() else out / "run" / EVENTS
    if not log.is_file():
        return []
    safe, wrong = 0, list[str]()
    for event in read_events(log):
        if event.kind == "plan":
            if event.done not in (safe, safe + 1):
                wrong.append(f"began at {event.done} and not at {safe}")
            safe = event.done
        elif event.kind == "checkpoint":
            safe = event.data["step"]
    return wrong


def exporting(session: Session, photos: Path, home: Path) -> Work:
    """A finished LoRA, written for other programs."""
    settings = {"steps": 2, "batch_size": 2}
    about = {"photos": [photos], "noun": "dog", "base": session.base, "out": home / "taught", "settings": settings}
    concept = train(RunConfig(**about), samples=False, session=session)

    def do(folder: Path) -> None:
        if not (folder / "rex.safetensors").exists():
            export(concept, "kohya", folder / "rex.safetensors", picture=False)

    def unreadable(folder: Path) -> list[str]:
        file = folder / "rex.safetensors"
        return fails(lambda: load_file(file), file) if file.exists() else []

    return Work("export kohya", do, unreadable, bits)


def racing(session: Session, photos: Path) -> Work:
    """A race of two methods with one training each; pictures are drawn in one step."""
    protocol = Protocol(("a {} in the snow",), "file", (0, 1), drift=2, steps=1)

    def do(folder: Path) -> None:
        race = Race(
            [photos], "dog", folder / "race", protocol, base=session.base, methods=("lora", "textual_inversion"),
            seeds=(0,), budget=Budget(steps=2),
        )  # fmt: skip
        run_race(race, session=session)

    def unreadable(folder: Path) -> list[str]:
        race, found = folder / "race", list[str]()
        for file in race.rglob("*.json"):
            if ".tmp-" not in str(file.relative_to(folder)):
                found += fails(lambda file=file: json.loads(file.read_bytes()), file)
        for concept in race.glob("runs/*/concept"):
            found += fails(lambda concept=concept: Concept.load(concept), concept)
        return found

    def result(folder: Path) -> dict[str, str]:
        files = folder.glob("race/runs/*/run.json")
        return bits(folder) | {f.parent.name: json.loads(f.read_bytes())["status"] for f in files}

    return Work("race", do, unreadable, result)


def fleet(session: Session, photos: Path) -> Work:
    """A fleet of two subjects in a folder; the driver is its own worker, and both are killed at once."""
    options = {"noun": "dog", "base": session.base, "checkpoint_every": 1}

    def do(folder: Path) -> None:
        os.environ["BOOTH_CACHE"] = str(folder / "cache")
        entries = read_manifest(photos.parent, None, options, [f"steps={STEPS}", "batch_size=2"])
        with ThisProcess() as here:
            here._resident.hold("base", (session.base, "cpu"), lambda: session)
            run_fleet(
                entries, Fleet(evaluate=False, preemptions=10**6), Folder(folder / "place"), here, lambda text: None
            )

    def unreadable(folder: Path) -> list[str]:
        found: list[str] = []
        place = folder / "place"
        for file in [*place.rglob("*.json"), *place.glob("*.jsonl")]:
            if ".tmp-" not in file.name:
                found += fails(lambda file=file: [json.loads(line) for line in whole(file)], file)
        for marker in place.rglob("done.json"):
            found += fails(lambda marker=marker: Concept.load(marker.parent / "concept"), marker)
        for manifest in place.rglob("checkpoints/*/manifest.json"):
            found += fails(lambda manifest=manifest: verify(manifest.parent), manifest)
        return found

    return Work("fleet", do, unreadable, lambda f: bits(f / "place"))


def whole(file: Path) -> list[str]:
    """The JSON texts of a file: each line of a list, or all of it."""
    text = file.read_text()
    return text.splitlines() if file.suffix == ".jsonl" else [text]


def fork(do: Callable[[], object], said: Path) -> int:
    """A child that does it, with what went wrong in a file; it ends with 0 when it is done, or the error's own code."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sys.stderr = said.open("a")
        do()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = getattr(error, "exit_code", 1)
    finally:
        os._exit(code)


def take_up(work: Work, folder: Path) -> int:
    """A child that takes the work up."""

    def do() -> None:
        os.environ["BOOTH_CACHE"] = str(folder / "cache")
        work.do(folder)

    return fork(do, folder / "stderr")


def once(work: Work, home: Path, moments: random.Random, counts: Counter[str], told: list[str], most: int) -> None:
    """Kill the work until it is done, or as often as is left."""
    folder = Path(tempfile.mkdtemp(dir=home))
    kills = 0
    while True:
        pid = take_up(work, folder)
        if kills < most:
            time.sleep(moments.uniform(0, WHOLE * work.seconds))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        kills += killed
        counts["kills"] += killed
        wrong = work.unreadable(folder)
        counts["unreadable"] += len(wrong)
        told += [f"{work.name}: {fault}" for fault in wrong]
        if not killed:
            break
    if os.WEXITSTATUS(status):
        counts["failed"] += 1
        told.append(f"{work.name}: {(folder / 'stderr').read_text()[-500:]}")
    else:
        counts["resumed"] += 1
        restarts = work.steps(folder)
        counts["silent restarts"] += len(restarts)
        told += [f"{work.name}: {restart}" for restart in restarts]
        if work.result(folder) != work.expected:
            counts["wrong resumes"] += 1
            told.append(f"{work.name}: other bits after {kills} kills")
    shutil.rmtree(folder)


def measure(work: Work, home: Path) -> None:
    """How long the work takes, and what comes of it, if nobody kills it."""
    folder = Path(tempfile.mkdtemp(dir=home))
    start = time.perf_counter()
    _, status = os.waitpid(take_up(work, folder), 0)
    work.seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{work.name} fails by itself: {(folder / 'stderr').read_text()}")
    work.expected = work.result(folder)
    shutil.rmtree(folder)


def write_photos(folder: Path) -> Path:
    """Four small pictures of a coloured square in the folder of each of two subjects; the first one is returned."""
    rng = np.random.default_rng(0)
    for name in ("rex", "tom"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8)
            pixels[16 + i : 48 + i, 16:48] = (200, 40 + 10 * i, 60)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder / "rex"


def joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs with several seeds as one: counts and minutes are added up."""
    rows = {row["work"]: {"work": row["work"], "seconds": row["seconds"]} for row in results[0]["rows"]}
    for result in results:
        for row in result["rows"]:
            own = rows[row["work"]]
            for key, count in row.items():
                if key not in {"work", "seconds"}:
                    own[key] = own.get(key, 0) + count
    total = sum((Counter(result["total"]) for result in results), Counter[str]())
    minutes = round(sum(result["minutes"] for result in results), 1)
    told = [line for result in results for line in result["told"]]
    seeds = [result["about"]["seed"] for result in results]
    about = results[0]["about"] | {"seed": seeds}
    return {
        **results[0],
        "about": about,
        "minutes": minutes,
        "total": dict(total),
        "rows": list(rows.values()),
        "told": told,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=600, help="stop after this time, with what was done")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/kills.json"))
    parser.add_argument("--join", type=Path, nargs="+", help="results of runs with other seeds, to be added up")
    asked = parser.parse_args()
    if asked.join:
        asked.out.write_text(json.dumps(joined([json.loads(f.read_bytes()) for f in asked.join]), indent=1) + "\n")
        return
    hush()
    torch.set_num_threads(1)
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        os.environ["BOOTH_CACHE"] = str(home / "cache")
        photos = write_photos(home / "photos")
        session = Session(str(write_toy_base(home / "base")))
        with session.model():
            pass
        works = [training(method, session, photos) for method in METHODS]
        works += [exporting(session, photos, home), racing(session, photos), fleet(session, photos)]
        moments = random.Random(asked.seed)
        counts = {work.name: Counter[str]() for work in works}
        told: list[str] = []
        for work in works:
            measure(work, home)
        turn, total = 0, Counter[str]()
        while (
            sum(c["kills"] for c in counts.values()) < asked.kills and time.monotonic() - began_at < 60 * asked.minutes
        ):
            work = works[turn % len(works)]
            once(work, home, moments, counts[work.name], told, most=12)
            turn += 1
            # After each attempt: who is cut off keeps what was found.
            total = sum(counts.values(), Counter())
            rows = [{"work": w.name, "seconds": round(w.seconds, 2), **counts[w.name]} for w in works]
            result = {
                "about": {"booth": __version__, "versions": package_versions(), "seed": asked.seed, "steps": STEPS},
                "load": list(os.getloadavg()),
                "minutes": round((time.monotonic() - began_at) / 60, 1),
                "total": dict(total),
                "rows": rows,
                "told": told[:50],
            }
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            with committed_file(asked.out) as work_file:
                work_file.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(total))


if __name__ == "__main__":
    main()
