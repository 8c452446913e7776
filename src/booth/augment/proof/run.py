"""`booth augment prove`: from folds to a verdict; the same command goes on with what is not done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from booth.augment.proof.bench import Bench
from booth.augment.proof.choices import Execute, choose, picture_arms
from booth.augment.proof.jobs import Job, run_jobs
from booth.augment.proof.plan import CHEAP, ProofPlan
from booth.augment.proof.preparation import Proof, Tell, prepare
from booth.augment.proof.record import RESULT, claim, record, write_proof_origins
from booth.augment.proof.statistics import Said, contrast, holm
from booth.augment.proof.verdicts import best_cheap, nothing, verdict
from booth.augment.recipe import PLACEBO, Recipe, anywhere
from booth.augment.state import write_json
from booth.core.json_values import Json
from booth.events import Listener, current_reporter, reporting
from booth.executor import job as executed
from booth.executor.job import Executor, Resident
from booth.executor.spread import spread


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
    claim(proof)
    benches = {bench.fold.index: bench for bench in proof.benches}

    def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, Any]]]:
        if executor is None:
            return ((job, benches[job.config["fold"]].classify(job.config)) for job in jobs)
        return _spread(jobs, aug, recipe, plan, executor)

    def execute(jobs: Sequence[Job]) -> list[dict[str, Any]]:
        return run_jobs(jobs, run, tell)

    for name in plan.classifiers:
        places = [(bench, arm) for arm in picture_arms(proof.benches[0]) for bench in proof.benches]
        for (_, arm), chosen in zip(places, choose(places, name, _job, execute), strict=True):
            proof.chosen.setdefault(f"{name} {arm}", []).append(chosen)
        proof.said[name] = {arm: _tested(proof, name, arm, execute) for arm in plan.arms}
    for place, bench in enumerate(proof.benches):
        write_proof_origins(proof, bench, place)
    _judge(proof)
    proof.record = record(proof, round(time.perf_counter() - began, 1))
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
        found = verdict(each, other) if used else nothing(each.classifier, each.arm, each.against)
        proof.verdicts.append(found)


def _balanced(said: Said, seed: int) -> float:
    right = said.right[seed]
    return float(np.mean([right[said.wanted == c].mean() for c in np.unique(said.wanted)]))
