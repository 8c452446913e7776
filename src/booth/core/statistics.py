"""Intervals that assume nothing about the shape of the numbers: the bootstrap (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences with its interval."""

    mean: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds zero."""
        return self.low <= 0 <= self.high


def resampled(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices (2000, count) that draw `count` units with replacement; the same for the same count."""
    return np.random.default_rng([count, seed]).integers(count, size=(RESAMPLES, count))


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % percentile interval."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval(units: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean over `units` (prompts or subjects, never single pictures of one prompt)."""
    values = np.asarray(units, dtype=np.float64)
    return percentiles(values[resampled(len(values))].mean(1))


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """first - second, paired unit by unit. Raises ValueError when they are not as many."""
    paired = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return Difference(float(paired.mean()), *interval(list(paired)))


def crossed(runs: Sequence[Sequence[float]], other: Sequence[Sequence[float]] | None = None) -> Difference:
    """The mean over runs (rows: training seeds) and units (columns: prompts), with both resampled.

    With `other` it is the difference to that, where prompts are paired and seeds are not.
    """
    first = np.asarray(runs, dtype=np.float64)  # (runs, units)
    second = np.zeros((1, first.shape[1])) if other is None else np.asarray(other, dtype=np.float64)
    columns = resampled(first.shape[1])  # (2000, units)
    samples = _means(first, columns, 1) - _means(second, columns, 2)
    return Difference(float(first.mean() - second.mean()), *percentiles(samples))


def _means(runs: NDArray[np.float64], columns: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    rows = resampled(len(runs), seed)  # (2000, runs)
    return runs[rows[:, :, None], columns[:, None, :]].mean((1, 2))
