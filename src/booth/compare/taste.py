"""The blind taste test: pairs without names, ranks from a dozen clicks, and where they disagree with the metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from PIL import Image

from booth.compare.summary import Summary
from booth.core.errors import BadDataError, UsageError
from booth.core.statistics import percentiles, resampled
from booth.evaluate.report.files import write_whole
from booth.generate.sheet import contact_sheet

FILE, SHEET = "taste.json", "taste.png"
PAIRS = 12
PSEUDO = 0.5  # of a win each way between any two, so that one click does not make a strength infinite
ROUNDS = 200
COMPARED = (("joint", ""), ("subject_similarity", ""), ("prompt_similarity", "token_dropped"))


@dataclass(frozen=True)
class Pair:
    """Two methods' pictures at the same prompt and seed, sides drawn by lot."""

    left: str  # method
    right: str
    left_file: Path
    right_file: Path
    prompt: str


@dataclass(frozen=True)
class Choice:
    """What someone said to a pair: the winner is one of the two, or none where they were the same."""

    left: str
    right: str
    winner: str | None


@dataclass(frozen=True)
class Rank:
    """A method's Bradley-Terry strength as its chance against the average method, with a 95 % interval."""

    method: str
    value: float
    low: float
    high: float


def pairs(summary: Summary, count: int = PAIRS, seed: int = 0) -> list[Pair]:
    """As many pairs as asked for, every two methods about equally often. BadDataError with fewer than two methods."""
    pictures = {m: _pictures(summary, m) for m in summary.methods}
    able = [m for m, files in pictures.items() if files]
    if len(able) < 2:
        raise BadDataError(
            f"{summary.folder} has pictures of fewer than two methods.",
            "Run `booth compare` first.",
            code="race.one_method",
            field="race",
        )
    rng = np.random.default_rng([seed, len(able)])
    matches = list(combinations(able, 2))
    rng.shuffle(matches)
    protocol = summary.plan["protocol"]
    prompts = [t.replace("{}", summary.plan["noun"]) for t in protocol["templates"] for _ in protocol["seeds"]]
    found: list[Pair] = []
    for i in range(count):
        left, right = (str(m) for m in rng.permutation(matches[i % len(matches)]))
        place = int(rng.integers(min(len(pictures[left]), len(pictures[right]))))
        found.append(Pair(left, right, pictures[left][place], pictures[right][place], prompts[place % len(prompts)]))
    return found


def _pictures(summary: Summary, method: str) -> list[Path]:
    """Of the method's first finished run, prompt by prompt."""
    done = summary.done(method)
    name = f"{method}-{done[0]['seed']}" if done else ""
    return sorted((summary.folder / "runs" / name / "concept_pictures").glob("*.png")) if done else []


def show(pair: Pair, photos: Sequence[Path], file: Path) -> Path:
    """A sheet with some photos above the two pictures; nothing on it says which is which."""
    rows = [[_open(p) for p in photos[:3]], [_open(pair.left_file), _open(pair.right_file)]]
    contact_sheet(rows, ["the photos", "left and right"]).save(file)
    return file


def _open(file: Path) -> Image.Image:
    with Image.open(file, formats=("PNG",)) as image:
        return image.convert("RGB")


def read_choices(folder: Path) -> list[Choice]:
    """What was chosen so far."""
    file = folder / FILE
    return [Choice(**c) for c in json.loads(file.read_text())["choices"]] if file.is_file() else []


class Kept(TypedDict):
    """What the file of choices holds."""

    choices: list[dict[str, Any]]  # each a Choice
    ranks: list[dict[str, Any]]  # each a Rank, best first
    disagreements: list[str]


def write_choices(folder: Path, choices: Sequence[Choice], summary: Summary) -> Kept:
    """Keep the choices with the ranks that follow from them."""
    ranks = bradley_terry(choices)
    result: Kept = {
        "choices": [asdict(c) for c in choices],
        "ranks": [asdict(r) for r in ranks],
        "disagreements": disagreements(ranks, summary),
    }
    write_whole(folder / FILE, json.dumps(result, indent=1) + "\n")
    return result


def bradley_terry(choices: Sequence[Choice]) -> list[Rank]:
    """Ranks, best first (Bradley and Terry, 1952; fitted by minorisation, Hunter, 2004); intervals by the bootstrap.

    A tie is half a win for each.
    """
    if not choices:
        raise UsageError(
            "Nothing was chosen yet.",
            "Answer a few pairs with `booth taste`.",
            code="taste.nothing_chosen",
            field="race",
        )
    methods = sorted({m for c in choices for m in (c.left, c.right)})
    place = {m: i for i, m in enumerate(methods)}
    wins = np.zeros((len(choices), len(methods), len(methods)))  # of row over column, one table a choice
    for i, c in enumerate(choices):
        for one, other in ((c.left, c.right), (c.right, c.left)):
            wins[i, place[one], place[other]] = 0.5 if c.winner is None else float(c.winner == one)
    strengths = _fit(wins.sum(0)[None])[0]
    samples = _fit(np.stack([wins[rows].sum(0) for rows in resampled(len(choices))]))
    ranks = [Rank(m, float(strengths[i]), *percentiles(samples[:, i])) for m, i in place.items()]
    return sorted(ranks, key=lambda r: -r.value)


def _fit(wins: np.ndarray) -> np.ndarray:
    """Chances (N, methods) against the average method from tables of wins (N, methods, methods)."""
    count = wins.shape[-1]
    padded = wins + PSEUDO * (1 - np.eye(count))
    games = padded + padded.transpose(0, 2, 1)
    strength = np.ones(wins.shape[:2])
    for _ in range(ROUNDS):
        strength = padded.sum(2) / (games / (strength[:, :, None] + strength[:, None, :])).sum(2)
        strength /= np.exp(np.log(strength).mean(1, keepdims=True))
    return strength / (1 + strength)


def disagreements(ranks: Sequence[Rank], summary: Summary) -> list[str]:
    """Pairs that people and a metric rank the other way round, both beyond their intervals."""
    sentences: list[str] = []
    for metric, part in COMPARED:
        column = summary.column(metric, part)
        if column is None:
            continue
        for better, worse in combinations(ranks, 2):
            a, b = (column.cells.get(r.method) for r in (better, worse))
            if a is None or b is None or better.low <= worse.high:
                continue
            sign = 1 if column.higher else -1
            if math.copysign(1, sign) * (b.value - a.value) > 0 and (b.low > a.high or b.high < a.low):
                sentences.append(f"You prefer {better.method} to {worse.method}; {column.title} says the reverse.")
    return sentences
