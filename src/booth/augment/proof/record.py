"""What a proof writes down: its plan before the work, and after it what it found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from booth.augment.build import shares
from booth.augment.derived_set import origin_of
from booth.augment.making import Maker
from booth.augment.proof.bench import Bench
from booth.augment.proof.choices import picture_arms
from booth.augment.proof.metrics import measured
from booth.augment.proof.preparation import Proof
from booth.augment.provenance import FILE as PROVENANCE
from booth.augment.provenance import Origin, write_origins
from booth.augment.state import read_json, write_json
from booth.core.commit import committed_file, size_of
from booth.core.errors import UsageError

PLAN, RESULT, FOLDS = "plan.json", "proof.json", "folds.csv"


def claim(proof: Proof) -> None:
    """Write down what is going to be compared; UsageError where another comparison lies there already."""
    plan = json.loads(json.dumps(proof.plan.to_json()))
    file = proof.folder / PLAN
    before = read_json(file)
    if before is not None and before != plan:
        differs = next(key for key in plan if before.get(key) != plan[key])
        raise UsageError(
            f"{file} wrote down {differs} = {before.get(differs)} before the run, and this asks for {plan[differs]}.",
            "What is compared is not changed afterwards: delete the folder to begin again, or name another with `out`.",
            code="augment.other_plan",
            field="out",
        )
    write_json(file, plan)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["fold", "side", "image", "label", "group", "sha256"])
    for bench in proof.benches:
        for side in ("train", "validation", "test"):
            for p in getattr(bench.fold, side).pictures:
                writer.writerow([bench.fold.index, side, p.name, p.label, p.group, p.sha256])
    with committed_file(proof.folder / FOLDS) as work:
        work.write_text(stream.getvalue(), encoding="utf-8")


def write_proof_origins(proof: Proof, bench: Bench, place: int) -> None:
    """Where every made picture comes from that a tested classifier of the fold has learned from."""
    origins: dict[str, Origin] = {}
    for key, several in proof.chosen.items():
        arm, choice = key.partition(" ")[2], several[place].choice
        maker = bench.maker(arm, choice.strength)
        if not isinstance(maker, Maker):
            continue
        for made in bench.extra(arm, choice):
            name = made.file.relative_to(bench.folder).as_posix()
            origins[name] = origin_of(made, name, maker, choice.filter, str(bench.fold.index))
    write_origins(list(origins.values()), bench.folder / PROVENANCE)


def record(proof: Proof, seconds: float) -> dict[str, Any]:
    scarce = sorted({label for bench in proof.benches for label in bench.scarce})
    numbers = {
        name: {arm: measured(said, proof.found.labels, scarce) for arm, said in arms.items()}
        for name, arms in proof.said.items()
    }
    return {
        "plan": proof.plan.to_json(),
        "recipe": proof.recipe.model_dump(mode="json"),
        "base": proof.benches[0].generator.base_hash if proof.plan.methods_need_base else "",
        "encoder": {"name": proof.benches[0].encoder.name, **proof.benches[0].encoder.about()},
        "pictures": dict(proof.found.counts),
        "groups": len(proof.found.groups),
        "scarce": {str(b.fold.index): list(b.scarce) for b in proof.benches},
        "sides": {str(b.fold.index): _sides(b) for b in proof.benches},
        "numbers": numbers,
        "contrasts": [asdict(c) for c in proof.contrasts],
        "over_placebo": [asdict(c) for c in proof.over_placebo],
        "verdicts": [asdict(v) for v in proof.verdicts],
        "choices": {key: [asdict(c.choice) for c in several] for key, several in proof.chosen.items()},
        "curves": {key: [c.curve for c in several] for key, several in proof.chosen.items()},
        "made": {arm: _made(proof, arm) for arm in picture_arms(proof.benches[0])},
        "seconds_of_this_call": seconds,
        "bytes": size_of(proof.folder),
    }


def _sides(bench: Bench) -> dict[str, dict[str, int]]:
    fold = bench.fold
    return {n: dict(s.counts) for n, s in (("train", fold.train), ("validation", fold.validation), ("test", fold.test))}


def _made(proof: Proof, arm: str) -> dict[str, Any]:
    """What share of an arm's pictures is what, over all folds."""
    made = [m for bench in proof.benches for m in bench.made_so_far(arm)]
    return shares(made, "likeness")


def total_seconds(proof: Proof) -> float:
    """Seconds of all trainings of classifiers, whatever call they were made in."""
    files = proof.folder.glob("fold-*/runs/*.json")
    return float(sum((read_json(f) or {}).get("result", {}).get("seconds", 0.0) for f in files))


def lines(proof: Proof) -> Sequence[str]:
    """The verdicts, for people."""
    return [f"{v.classifier}: {v.sentence}" for v in proof.verdicts]
