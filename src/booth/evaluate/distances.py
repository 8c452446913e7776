"""How far two sets of pictures lie apart: Fréchet distance, and maximum mean discrepancy with two kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from booth.core.statistics import RESAMPLES, percentiles

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0  # as published


def frechet(x: Array, y: Array) -> float:
    """The squared Fréchet distance of the normal distributions fitted to x (N, D) and y (M, D).

    |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) (Dowson and Landau, 1982; FID: Heusel et al., 1706.08500). The
    trace of the root is that of (S_x^(1/2) S_y S_x^(1/2))^(1/2), which is symmetric, so that no complex part arises.
    """
    cov_x, cov_y = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    root_x = _root(cov_x)
    inner = np.linalg.eigvalsh(root_x @ cov_y @ root_x).clip(min=0)
    away = x.mean(0) - y.mean(0)
    return float(away @ away + np.trace(cov_x) + np.trace(cov_y) - 2 * np.sqrt(inner).sum())


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def gaussian_kernel(a: Array, b: Array) -> Array:
    """CMMD's kernel (2401.09603): exp(-|a - b|^2 / (2 sigma^2)) with sigma = 10, times 1,000."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return CMMD_SCALE * np.exp(-squared.clip(min=0) / (2 * CMMD_SIGMA**2))


def cubic_kernel(a: Array, b: Array) -> Array:
    """KID's kernel (1801.01401): (a.b / D + 1)^3."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def mmd(x: Array, y: Array, kernel: Kernel, seed: int = 0) -> tuple[float, float, float]:
    """The squared MMD of paired rows x and y (N, D), N at least 2, and its 95 % bootstrap interval.

    Row i of both is one prompt drawn with one seed, so that x_i and y_i are alike for that alone. Gretton et al. (JMLR
    13, 2012, eq. 4) leave out every kernel value of a row with its own partner as well as with itself: the mean over
    i != j of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i). It is unbiased, and 0 for two equal sets.
    """
    k_xy = kernel(x, y)
    h = kernel(x, x) + kernel(y, y) - k_xy - k_xy.T
    rng = np.random.default_rng([len(x), seed])
    ones = np.ones(len(x))
    estimates: list[float] = []
    while len(estimates) < RESAMPLES // 4:
        weights = rng.multinomial(len(x), ones / len(x)).astype(float)
        if np.count_nonzero(weights) > 1:
            estimates.append(_among_others(h, weights))
    return _among_others(h, ones), *percentiles(np.array(estimates))


def _among_others(h: Array, weights: Array) -> float:
    """The weighted mean of h over pairs of different rows; one that was resampled twice has no pair in itself."""
    own = weights * weights
    return float((weights @ h @ weights - own @ np.diag(h)) / (weights.sum() ** 2 - own.sum()))
