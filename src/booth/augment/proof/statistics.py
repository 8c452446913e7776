"""Intervals over groups, paired, and Holm's correction over the contrasts that were written down before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from booth.core.statistics import RESAMPLES, percentiles


@dataclass(frozen=True)
class Said:
    """What one arm's classifiers said of every test picture: a row a training seed, the folds side by side."""

    probabilities: np.ndarray  # (S, N, C)
    wanted: np.ndarray  # (N,) numbers of classes
    groups: np.ndarray  # (N,) numbers of groups

    @property
    def right(self) -> np.ndarray:
        """(S, N) whether each was called what it is."""
        return self.probabilities.argmax(2) == self.wanted


@dataclass(frozen=True)
class Contrast:
    """A paired difference of balanced accuracy, in points of one hundred."""

    classifier: str
    arm: str
    against: str
    mean: float
    low: float
    high: float
    p: float
    holm: float = 1.0  # p, corrected


def recalls(said: Said) -> np.ndarray:
    """(S, C) recall of each class."""
    classes = said.probabilities.shape[2]
    return np.stack([said.right[:, said.wanted == c].mean(1) for c in range(classes)], axis=1)


def resampled_balanced(said: Said, seed: int, arm_seed: int) -> np.ndarray:
    """Balanced accuracy (2000,) with groups drawn again, alike for every arm, and training seeds, for each arm alone.

    A class that a draw holds no picture of does not count in it.
    """
    seeds, _ = said.right.shape
    classes, count = said.probabilities.shape[2], int(said.groups.max()) + 1
    total, right = np.zeros((count, classes)), np.zeros((seeds, count, classes))
    np.add.at(total, (said.groups, said.wanted), 1)
    for s in range(seeds):
        np.add.at(right[s], (said.groups, said.wanted), said.right[s])
    weights = np.random.default_rng([seed, count]).multinomial(count, np.ones(count) / count, RESAMPLES).astype(float)
    rows = np.random.default_rng([seed, count, arm_seed]).integers(seeds, size=(RESAMPLES, seeds))
    there = weights @ total  # (R, C)
    hits = np.einsum("rg,sgc->rsc", weights, right)
    hits = hits[np.arange(RESAMPLES)[:, None], rows].mean(1)  # (R, C)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(np.where(there > 0, hits / there, np.nan), axis=1)


def contrast(classifier: str, arm: str, against: str, arms: Mapping[str, Said], seed: int = 0) -> Contrast:
    """`arm` less `against`, with its 95 % interval and the bootstrap's two-sided p."""
    order = list(arms)
    one, other = (100 * resampled_balanced(arms[a], seed, order.index(a)) for a in (arm, against))
    differences = one - other
    mean = 100 * float(recalls(arms[arm]).mean() - recalls(arms[against]).mean())
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    p = min(1.0, 2 * (min(below, above) + 1) / (RESAMPLES + 1))
    return Contrast(classifier, arm, against, mean, *percentiles(differences), p)


def holm(found: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p corrected by Holm's step-down (Scandinavian Journal of Statistics 6, 1979)."""
    from dataclasses import replace

    corrected: dict[int, float] = {}
    before = 0.0
    for rank, i in enumerate(sorted(range(len(found)), key=lambda i: found[i].p)):
        before = max(before, min(1.0, (len(found) - rank) * found[i].p))
        corrected[i] = before
    return [replace(each, holm=corrected[i]) for i, each in enumerate(found)]
