"""Seconds from a command to a concept that draws its subject, beside diffusers' own LoRA script, on this machine.

    python benchmarks/time_to_subject.py --scripts FOLDER --out results/time_to_subject.json

FOLDER holds `train_dreambooth_lora.py` of the installed diffusers (its examples/dreambooth). Both teach the same
held-out subjects of the world to the embedded base from the same photos, in turns, each as a command of its own: the
script at the settings that it documents and at booth's rank, rate and batch, which tells how much of the difference is
settings, and booth at its defaults. What was learned by each checkpoint is drawn in ten scenes, and looked at by the
world's judges: joint success is the same individual in the scene asked for.
Seconds of a checkpoint are those until it was written and those from the last one until the command had ended.
Results are written after each subject, and subjects that are there are not taught again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.compare.study_subject import StudySubject, study_subject
from booth.concept import Concept
from booth.core.commit import package_versions
from booth.core.method import Subject
from booth.evaluate.encoders.world import WorldJudges
from booth.evaluate.prompt_factors import prompt_factors
from booth.evaluate.protocol import make_protocol, paired_prompts
from booth.evaluate.wall import keep
from booth.families.loading import EMBEDDED_FOLDER, base_hash
from booth.families.quiet import hush
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.importing.run import import_file
from booth.session import Session

# The subjects of docs/studies/dreambooth-and-lora.md.
SUBJECTS = (
    "cat:21", "backpack:22", "teapot:23", "dog:24", "boot:25",
    "clock:26", "vase:27", "sneaker:28", "candle:29", "horse:30",
)  # fmt: skip
SCENES = 10  # prompts, the first of DreamBooth's
DRAWN_IN = 12  # denoising steps of each drawing
SIDE = 128
PEER_STEPS, PEER_EVERY = 500, 250
OUR_STEPS, OUR_EVERY = 200, 50
OURS = "script at booth's settings"
ARMS = {
    "script": {"learning_rate": "1e-4", "rank": "4", "train_batch_size": "1"},
    OURS: {"learning_rate": "1e-3", "rank": "16", "train_batch_size": "2"},
}
WEIGHTS = "pytorch_lora_weights.safetensors"


@dataclass
class Taught:
    """What a command left: seconds by step, and the concept after a step."""

    seconds: dict[int, float]
    whole: float
    concept: Callable[[int, Path], Concept]


def timed(command: Sequence[str], log: Path, written: Callable[[], dict[int, Path]]) -> tuple[dict[int, float], float]:
    """Seconds until each checkpoint was there and until the command had ended, which has to end well."""
    seen: dict[int, float] = {}
    stop = threading.Event()
    began = time.perf_counter()

    def look() -> None:
        while not stop.wait(0.05):
            for step, file in written().items():
                if step not in seen and file.exists():
                    seen[step] = time.perf_counter() - began

    watcher = threading.Thread(target=look)
    watcher.start()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("OMP_NUM_THREADS", None)
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment, check=False)
    whole = time.perf_counter() - began
    time.sleep(0.1)
    stop.set()
    watcher.join()
    if done.returncode:
        sys.exit(f"{command[:3]} ended with {done.returncode}: {log.read_text()[-2000:]}")
    tail = whole - max(seen.values())
    return {step: round(seconds + tail, 2) for step, seconds in sorted(seen.items())}, round(whole, 2)


def by_the_script(runner: Sequence[str], arm: str, subject: StudySubject, home: Path) -> Taught:
    """diffusers' script, whose files are imported afterwards."""
    out = home / "script"
    steps = [*range(PEER_EVERY, PEER_STEPS + 1, PEER_EVERY)]
    options: dict[str, Any] = {
        "pretrained_model_name_or_path": EMBEDDED_FOLDER, "instance_data_dir": subject.folder, "output_dir": out,
        "instance_prompt": f"a photo of sks {subject.noun}", "resolution": SIDE, "lr_scheduler": "constant",
        "lr_warmup_steps": 0, "seed": 0, "max_train_steps": PEER_STEPS, "checkpointing_steps": PEER_EVERY, **ARMS[arm],
    }  # fmt: skip
    command = [*runner, *(f"--{name}={value}" for name, value in options.items())]
    files = {step: out / f"checkpoint-{step}" / WEIGHTS for step in steps}
    seconds, whole = timed(command, home / "script.log", lambda: files)

    def concept(step: int, place: Path) -> Concept:
        return import_file(files[step], noun=subject.noun, token="sks", out=place)

    return Taught(seconds, whole, concept)


def by_booth(subject: StudySubject, home: Path) -> Taught:
    """`booth train` at its defaults."""
    out = home / "booth"
    steps = [*range(OUR_EVERY, OUR_STEPS + 1, OUR_EVERY)]
    command = [sys.executable, "-m", "booth", "train", str(subject.folder), "--class", subject.noun, "--out", str(out)]
    command += ["--base", "embedded", "--steps", str(OUR_STEPS), "--checkpoint-every", str(OUR_EVERY)]
    command += ["--set", f"keep_checkpoints={len(steps)}"]
    run = out.with_name(f"{out.name}.run") / "checkpoints"
    files = {step: run / f"ckpt-{step:06d}" / "manifest.json" for step in steps}
    seconds, whole = timed(command, home / "booth.log", lambda: files)
    return Taught(seconds, whole, lambda step, place: keep(Concept.load(out), step, place))


def joint(session: Session, judges: WorldJudges, concept: Concept, subject: StudySubject) -> float:
    """Share of ten drawings that show the same individual in the scene asked for."""
    pairs = paired_prompts(make_protocol(subject.noun).templates[:SCENES], Subject("sks", subject.noun))
    with session.model() as model, attached(model, [Applied(concept)]):
        drawn = draw(model, [prompt for prompt, _ in pairs], [0] * SCENES, steps=DRAWN_IN)
    same = judges.same(drawn, subject.photos.references)
    wanted = [prompt_factors(plain, subject.noun).scene for _, plain in pairs]
    verdicts = judges.verdicts(drawn)
    right = [here and verdict.scene == scene for here, verdict, scene in zip(same, verdicts, wanted, strict=True)]
    return sum(right) / SCENES


def measured(arms: Sequence[str], place: str, runner: Sequence[str], session: Session, judges: WorldJudges) -> Any:
    """Of each arm: (step, seconds, joint success) of every checkpoint, and the whole command's seconds."""
    found: dict[str, Any] = {}
    for arm in arms:
        with tempfile.TemporaryDirectory() as temporary:
            home = Path(temporary)
            subject = study_subject(place, None, home / "subjects")
            taught = by_booth(subject, home) if arm == "booth" else by_the_script(runner, arm, subject, home)
            curve: list[tuple[int, float, float]] = []
            for step, seconds in taught.seconds.items():
                concept = taught.concept(step, home / "concept")
                curve.append((step, seconds, joint(session, judges, concept, subject)))
                shutil.rmtree(home / "concept")
        found[arm] = {"curve": curve, "whole": taught.whole}
        print(place, arm, curve, flush=True)
    return found


def summary(subjects: dict[str, Any]) -> dict[str, Any]:
    """Means over subjects by arm and step, and when booth's reached what the better of the script's had at its end."""
    told: dict[str, Any] = {}
    for arm in ("script", "booth", OURS):
        runs = [found[arm]["curve"] for found in subjects.values() if arm in found]
        if runs:
            rows = [
                [sum(values) / len(runs) for values in zip(*points, strict=True)] for points in zip(*runs, strict=True)
            ]
            told[arm] = {
                "subjects": len(runs),
                "curve": [[round(step), round(s, 1), round(j, 3)] for step, s, j in rows],
            }
    told["documented"] = reached(told, "script")
    told["target"] = reached(told, max(("script", OURS), key=lambda arm: told[arm]["curve"][-1][2]))
    return told


def reached(told: dict[str, Any], arm: str) -> dict[str, Any]:
    """When booth had what an arm of the script's had at its end."""
    _, seconds, joint = told[arm]["curve"][-1]
    step, there, _ = next((row for row in told["booth"]["curve"] if row[2] >= joint), (None, None, None))
    ratio = there and round(there / seconds, 2)
    return {"arm": arm, "joint": joint, "script": seconds, "booth": there, "steps": step, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=Path, required=True, help="where train_dreambooth_lora.py is")
    parser.add_argument(
        "--through", type=Path, help="a program that is given the script, where it cannot run by itself"
    )
    parser.add_argument("--out", type=Path, default=Path("results/time_to_subject.json"))
    parser.add_argument("--subjects", type=int, default=len(SUBJECTS))
    asked = parser.parse_args()
    hush()
    runner = [
        sys.executable,
        *([str(asked.through)] if asked.through else []),
        str(asked.scripts / "train_dreambooth_lora.py"),
    ]
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {"subjects": {}}
    judges = WorldJudges()
    base = base_hash(EMBEDDED_FOLDER)
    if found["subjects"] and found["about"]["base"] != base:
        parser.error(f"{asked.out} is of another base; name another file with --out, or move it away")
    with Session("embedded") as session:
        for place in SUBJECTS[: asked.subjects]:
            if place in found["subjects"]:
                continue
            found["subjects"][place] = measured(["script", "booth", OURS], place, runner, session, judges)
            result = {
                "about": {
                    "base": base, "versions": package_versions(), "cores": os.cpu_count(),
                    "drawings": SCENES, "drawn_in": DRAWN_IN,
                    "settings": ARMS, "load": list(os.getloadavg()),
                },
                "mean": summary(found["subjects"]), "subjects": found["subjects"],
            }  # fmt: skip
            asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(json.loads(asked.out.read_text())["mean"]))


if __name__ == "__main__":
    main()
