"""Strength, filter and ratio of an arm, one after the other, by the inner validation on real pictures alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from booth.augment.proof.bench import Bench, Choice
from booth.augment.proof.jobs import Job
from booth.augment.recipe import PLACEBO

SEED = "choice"  # of the trainings by which is chosen; none of them is tested
Results = list[dict[str, Any]]
Execute = Callable[[Sequence[Job]], Results]


@dataclass
class Chosen:
    """What was chosen for an arm of a fold, and all that was tried for it."""

    choice: Choice
    tried: list[tuple[Choice, float, int]]  # with balanced accuracy on the validation side, and pictures
    curve: dict[float, float]  # balanced accuracy on the validation side by ratio


Trying = Generator[list[Job], Results | None, Chosen]  # is sent the results of the trainings that it yields


def choose(
    places: Sequence[tuple[Bench, str]], classifier: str, job: Callable[..., Job], execute: Execute
) -> list[Chosen]:
    """What is chosen for each arm of each fold.

    All are tried at once and in turns, so that where there are several workers each makes the pictures of another one.
    """
    going = [_trying(bench, classifier, arm, job) for bench, arm in places]
    results: dict[int, Results | None] = dict.fromkeys(range(len(going)))
    found: dict[int, Chosen] = {}
    while results:
        asked: dict[int, list[Job]] = {}
        for i, told in results.items():
            try:
                asked[i] = going[i].send(told)
            except StopIteration as stopped:
                found[i] = stopped.value
        turns = sorted((turn, i) for i, jobs in asked.items() for turn in range(len(jobs)))
        known = dict(zip(turns, execute([asked[i][turn] for turn, i in turns]), strict=True))
        results = {i: [known[turn, i] for turn in range(len(jobs))] for i, jobs in asked.items()}
    return [found[i] for i in range(len(going))]


def _trying(bench: Bench, classifier: str, arm: str, job: Callable[..., Job]) -> Trying:
    """Coordinate by coordinate from one drawn picture a real one; of what is equal the first stands.

    A choice of which no picture came through is worth nothing, whatever its number.
    """
    ratios = bench.plan.ratios
    start = Choice(bench.strengths(arm)[0], bench.filters(arm)[0], 1.0 if 1.0 in ratios else ratios[0])
    tried: dict[Choice, tuple[float, int]] = {}

    def best(options: Sequence[Choice]) -> Generator[list[Job], Results | None, Choice]:
        if len(options) == 1:
            return options[0]  # nothing to choose
        new = [o for o in options if o not in tried]
        results = yield [job(bench, classifier, arm, asdict(option), SEED, test=False) for option in new]
        for option, result in zip(new, results or (), strict=True):
            tried[option] = (result["validation"], result["made"])
        return max(options, key=lambda o: (tried[o][1] > 0, tried[o][0]))

    choice = yield from best([replace(start, strength=s) for s in bench.strengths(arm)])
    choice = yield from best([replace(choice, filter=f) for f in bench.filters(arm)])
    options = [replace(choice, ratio=r) for r in ratios]
    choice = yield from best(options)
    curve = {o.ratio: tried[o][0] for o in options if o in tried}
    return Chosen(choice, [(o, *found) for o, found in tried.items()], curve)


def picture_arms(bench: Bench) -> list[str]:
    """The arms for which something is chosen."""
    return [PLACEBO, *(arm for arm in bench.plan.made if arm != PLACEBO)]
