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
    """The unbiased squared MMD of x (N, D) and y (M, D), and its 95 % bootstrap interval; N and M at least 2.

    A picture that is drawn twice in a resample is not compared with itself, which would bias the estimate upwards.
    """
    k_xx, k_yy, k_xy = kernel(x, x), kernel(y, y), kernel(x, y)
    rng = np.random.default_rng([len(x), len(y), seed])
    ones = np.ones(len(x)), np.ones(len(y))
    estimates: list[float] = []
    while len(estimates) < RESAMPLES // 4:
        w_x, w_y = (rng.multinomial(len(w), w / len(w)).astype(float) for w in ones)
        if np.count_nonzero(w_x) > 1 and np.count_nonzero(w_y) > 1:
            estimates.append(_mmd(k_xx, k_yy, k_xy, w_x, w_y))
    return _mmd(k_xx, k_yy, k_xy, *ones), *percentiles(np.array(estimates))


def _mmd(k_xx: Array, k_yy: Array, k_xy: Array, w_x: Array, w_y: Array) -> float:
    cross = w_x @ k_xy @ w_y / (w_x.sum() * w_y.sum())
    return float(_within(k_xx, w_x) + _within(k_yy, w_y) - 2 * cross)


def _within(k: Array, w: Array) -> float:
    """The weighted mean of the kernel over pairs of different pictures."""
    own = w * w
    return float((w @ k @ w - own @ np.diag(k)) / (w.sum() ** 2 - own.sum()))
