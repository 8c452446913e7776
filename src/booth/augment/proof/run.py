"""`booth augment prove`: from folds to a verdict; the same command goes on with what is not done."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from booth.augment.build import JUDGING, RECORD, require_outside, shares
from booth.augment.classifiers import classifier
from booth.augment.copies import comparing_encoder
from booth.augment.derived_set import origin_of
from booth.augment.generator import Generator
from booth.augment.labelled_set import LabelledSet
from booth.augment.making import Maker
from booth.augment.proof.bench import Bench
from booth.augment.proof.choices import Chosen, Execute, choose, picture_arms
from booth.augment.proof.jobs import Job, run_jobs
from booth.augment.proof.metrics import measured
from booth.augment.proof.plan import CHEAP, ProofPlan
from booth.augment.proof.statistics import Contrast, Said, contrast, holm
from booth.augment.proof.verdicts import Verdict, best_cheap, nothing, verdict
from booth.augment.provenance import FILE as PROVENANCE
from booth.augment.provenance import Origin, write_origins
from booth.augment.readers import read_set
from booth.augment.recipe import PLACEBO, Recipe, anywhere, require_labels
from booth.augment.splits import outer_folds
from booth.augment.state import read_json, write_json
from booth.core.commit import committed_file, size_of
from booth.core.errors import BadDataError, UsageError
from booth.core.json_values import Json
from booth.events import Listener, current_reporter, reporting
from booth.executor import job as executed
from booth.executor.job import Executor, Resident
from booth.executor.spread import spread

FOLDER, PLAN, RESULT, FOLDS = "proof", "plan.json", "proof.json", "folds.csv"
Tell = Callable[[str], None]


@dataclass
class Proof:
    """Everything that was found."""

    folder: Path
    plan: ProofPlan
    recipe: Recipe
    found: LabelledSet
    benches: list[Bench]
    said: dict[str, dict[str, Said]] = field(default_factory=dict[str, dict[str, Said]])  # by classifier and arm
    chosen: dict[str, list[Chosen]] = field(default_factory=dict[str, list[Chosen]])  # by "classifier arm", a fold each
    used: dict[str, int] = field(default_factory=dict[str, int])  # made pictures in the tested trainings, likewise
    contrasts: list[Contrast] = field(default_factory=list[Contrast])
    over_placebo: list[Contrast] = field(default_factory=list[Contrast])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    record: dict[str, Any] = field(default_factory=dict[str, Any])


def read_recipe(aug: Path) -> Recipe:
    """The recipe of a set that `booth augment` made; BadDataError for another folder."""
    record = read_json(aug / RECORD)
    if record is None:
        raise BadDataError(
            f"{aug} is no set of `booth augment`: it has no {RECORD}.",
            "Name the folder that it printed.",
            code="augment.no_set",
            field="aug",
        )
    return Recipe.model_validate(record["recipe"])


def prepare(aug: Path, recipe: Recipe, plan: ProofPlan, tell: Tell, listener: Listener | None = None) -> Proof:
    """Everything that can be checked before the work: the set, its folds, the words and that nothing leaks."""
    plan.checked()
    for name in plan.classifiers:
        classifier(name).make(2)  # a missing package is told before the work
    found = read_set(recipe.data, recipe.columns, recipe.images)
    for sentence in (found.layout, *found.notes):
        tell(sentence)
    require_labels(recipe, found)
    require_outside(recipe, found, aug)
    if plan.shots is not None and not recipe.classes:
        raise UsageError(
            "`shots` says how many pictures of the scarce classes are used.",
            "Name these with `classes`.",
            code="shots.without_classes",
            field="shots",
        )
    folds = outer_folds(found, plan.folds, plan.seed, recipe.classes, plan.shots)
    encoder = comparing_encoder(recipe.encoder)
    generator = Generator(recipe.base, recipe.device, listener)
    folder = aug / FOLDER
    benches = [
        Bench(fold, plan, recipe, found.labels, folder / f"fold-{fold.index}", generator, encoder, JUDGING)
        for fold in folds
    ]
    for bench in benches:
        for arm in plan.pictures:
            bench.maker(arm, 1.0)  # what it saw is looked at first of all
    return Proof(folder, plan, recipe, found, benches)


def prove(
    aug: Path,
    recipe: Recipe,
    plan: ProofPlan,
    *,
    tell: Tell = lambda _: None,
    listener: Listener | None = None,
    executor: Executor | None = None,
) -> Proof:
    """Run what is not done yet, and say for each method and classifier whether its pictures help.

    With an `executor` the trainings of classifiers, and the making of pictures that they need, are its workers'.
    """
    began = time.perf_counter()
    proof = prepare(aug, recipe, plan, tell, listener)
    _claim(proof)
    benches = {bench.fold.index: bench for bench in proof.benches}

    def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, Any]]]:
        if executor is None:
            return ((job, benches[job.config["fold"]].classify(job.config)) for job in jobs)
        return _spread(jobs, aug, recipe, plan, executor)

    def execute(jobs: Sequence[Job]) -> list[dict[str, Any]]:
        return run_jobs(jobs, run, tell)

    for name in plan.classifiers:
        for bench in proof.benches:
            for arm in picture_arms(bench):
                chosen = choose(bench, name, arm, _job, execute)
                proof.chosen.setdefault(f"{name} {arm}", []).append(chosen)
        proof.said[name] = {arm: _tested(proof, name, arm, execute) for arm in plan.arms}
    for place, bench in enumerate(proof.benches):
        _write_origins(proof, bench, place)
    _judge(proof)
    proof.record = _record(proof, round(time.perf_counter() - began, 1))
    write_json(proof.folder / RESULT, proof.record)
    return proof


def classify(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """One training of a classifier, a job of an executor."""
    recipe, plan = Recipe.model_validate(arguments["recipe"]), ProofPlan.model_validate(arguments["plan"])
    key = json.dumps({name: value for name, value in arguments.items() if name != "config"}, sort_keys=True)
    with reporting([resident.on_event], resident.cancel):
        proof = resident.hold("proof", key, lambda: prepare(Path(arguments["aug"]), recipe, plan, lambda _: None))
        benches = {bench.fold.index: bench for bench in proof.benches}
        return benches[arguments["config"]["fold"]].classify(arguments["config"])


def _spread(
    jobs: Sequence[Job], aug: Path, recipe: Recipe, plan: ProofPlan, executor: Executor
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """The trainings by workers, from wherever these are started."""
    pictures = {name: folder.absolute() for name, folder in plan.pictures.items()}
    there = plan.model_copy(update={"pictures": pictures}).model_dump(mode="json")
    told: dict[str, Any] = {"aug": str(aug.absolute()), "recipe": anywhere(recipe), "plan": there}
    own = {str(job.file): job for job in jobs}
    asked = [
        executed.Job(name, "booth.augment.proof.run:classify", {**told, "config": job.config})
        for name, job in own.items()
    ]
    for outcome in spread(executor, asked, current_reporter().cancel):
        executed.raise_failed(outcome)
        yield own[outcome.job.key], dict(outcome.result)


def _job(bench: Bench, classifier: str, arm: str, choice: dict[str, Any] | None, seed: Any, *, test: bool) -> Job:
    schedule = bench.plan.schedule
    config = {
        "fold": bench.fold.index, "split": bench.split, "classifier": classifier, "arm": arm, "choice": choice,
        "seed": seed, "test": test, **asdict(schedule),
    }  # fmt: skip
    return Job(config, bench.folder.parent)


def _tested(proof: Proof, name: str, arm: str, execute: Execute) -> Said:
    """What the arm's classifiers say of every fold's test side, which is touched here alone."""
    parts: list[np.ndarray] = []
    wanted: list[int] = []
    names: list[str] = []
    for place, bench in enumerate(proof.benches):
        choice = None if arm in CHEAP else asdict(proof.chosen[f"{name} {arm}"][place].choice)
        results = execute([_job(bench, name, arm, choice, seed, test=True) for seed in range(proof.plan.seeds)])
        parts.append(np.array([result["test"] for result in results]))
        proof.used[f"{name} {arm}"] = proof.used.get(f"{name} {arm}", 0) + sum(r["made"] for r in results)
        wanted += [proof.found.labels.index(p.label) for p in bench.fold.test.pictures]
        names += [p.group for p in bench.fold.test.pictures]
    numbers = {group: i for i, group in enumerate(sorted(set(names)))}
    return Said(np.concatenate(parts, axis=1), np.array(wanted), np.array([numbers[g] for g in names]))


def _write_origins(proof: Proof, bench: Bench, place: int) -> None:
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


def _judge(proof: Proof) -> None:
    best: dict[str, str] = {}
    for name, arms in proof.said.items():
        balanced = {
            arm: float(np.mean([_balanced(said, s) for s in range(proof.plan.seeds)])) for arm, said in arms.items()
        }
        best[name] = best_cheap(balanced, CHEAP)
    proof.contrasts = holm(
        [contrast(name, arm, best[name], proof.said[name], proof.plan.seed) for name, arm in proof.plan.contrasts]
    )
    placebo = [contrast(name, arm, PLACEBO, proof.said[name], proof.plan.seed) for name, arm in proof.plan.contrasts]
    proof.over_placebo = holm(placebo)
    for each, other in zip(proof.contrasts, proof.over_placebo, strict=True):
        used = proof.used[f"{each.classifier} {each.arm}"]
        found = verdict(each, other.mean) if used else nothing(each.classifier, each.arm, each.against)
        proof.verdicts.append(found)


def _balanced(said: Said, seed: int) -> float:
    right = said.right[seed]
    return float(np.mean([right[said.wanted == c].mean() for c in np.unique(said.wanted)]))


def _claim(proof: Proof) -> None:
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


def _record(proof: Proof, seconds: float) -> dict[str, Any]:
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
