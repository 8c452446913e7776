"""Distances between sets against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from booth.core.statistics import difference, interval, paired_t
from booth.evaluate.distances import Kernel, cubic_kernel, frechet, gaussian_kernel, mmd


def sample(mean: list[float], cov: np.ndarray, count: int) -> np.ndarray:
    """Points whose mean and covariance are exactly these."""
    points = np.random.default_rng(0).normal(size=(count, len(mean)))
    points -= points.mean(0)
    whitened = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False)).T)
    return whitened @ np.linalg.cholesky(cov).T + mean


def test_frechet_of_two_known_gaussians_that_do_not_commute() -> None:
    """d^2 = |m|^2 + tr(A) + tr(B) - 2 tr((AB)^1/2), and of a 2x2 matrix tr(M^1/2) = sqrt(tr M + 2 sqrt(det M))."""
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    product = a @ b
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = 3.0**2 + 4.0**2 + np.trace(a) + np.trace(b) - 2 * root
    assert frechet(sample([0, 0], a, 50), sample([3, 4], b, 70)) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_diagonal_gaussians_is_that_of_their_deviations() -> None:
    x, y = sample([1, 1, 1], np.diag([1.0, 4.0, 9.0]), 40), sample([1, 1, 1], np.diag([4.0, 4.0, 1.0]), 40)
    assert frechet(x, y) == pytest.approx((1 - 2) ** 2 + 0 + (3 - 1) ** 2, rel=1e-9)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_mmd_is_the_u_statistic_by_hand() -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]])
    # KID's kernel in one dimension is (ab + 1)^3: k(0,1)=1, k(3,5)=16^3; across, without partners, k(0,5)=1, k(1,3)=4^3
    value, _, _ = mmd(x, y, cubic_kernel)
    assert value == pytest.approx(1 + 4096 - (1 + 64))
    # CMMD's kernel: 1000 exp(-d^2 / 200)
    value, _, _ = mmd(x, y, gaussian_kernel)
    k = [1000 * np.exp(-(d**2) / 200) for d in (1, 2, 5, 2)]
    assert value == pytest.approx(k[0] + k[1] - k[2] - k[3])


@pytest.mark.parametrize("kernel", [gaussian_kernel, cubic_kernel])
def test_mmd_of_one_distribution_holds_zero_and_of_two_does_not(kernel: Kernel) -> None:
    rng = np.random.default_rng(1)
    x, y, far = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)), rng.normal(2, 1, size=(60, 4))
    _, low, high = mmd(x, y, kernel)
    assert low < 0 < high
    value, low, high = mmd(x, far, kernel)
    assert 0 < low < value < high
    assert mmd(x, x, kernel) == pytest.approx((0, 0, 0), abs=1e-9)


@pytest.mark.parametrize("kernel", [gaussian_kernel, cubic_kernel])
def test_partners_that_are_alike_do_not_hide_a_drift(kernel: Kernel) -> None:
    """The mean over many small sets is the distance of large ones without partners, however alike partners are."""
    rng = np.random.default_rng(2)
    alone = mmd(rng.normal(size=(2000, 4)), rng.normal(size=(2000, 4)) + 0.5, kernel)[0]
    small: list[float] = []
    for _ in range(400):
        x = rng.normal(size=(8, 4))
        k_xy = kernel(x, y := x + 0.5)
        h = kernel(x, x) + kernel(y, y) - k_xy - k_xy.T
        small.append(float((h.sum() - np.trace(h)) / 56))
    assert np.mean(small) == pytest.approx(alone, rel=0.15)


def test_the_interval_is_about_that_of_the_normal_theory() -> None:
    values = list(np.random.default_rng(2).normal(5, 2, size=200))
    low, high = interval(values)
    half = 1.96 * np.std(values) / 200**0.5
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.1 * half)
    assert interval([3.0, 3.0]) == (3.0, 3.0)


def test_pairing_finds_a_small_difference_that_varies_less_than_the_units() -> None:
    units = np.linspace(0, 10, 25)
    gain = difference(list(units + 0.1 + 0.01 * np.cos(np.arange(25))), list(units))
    assert gain.mean == pytest.approx(0.1, abs=0.01)
    assert not gain.is_noise
    assert difference([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0]).is_noise


def test_students_interval_by_hand() -> None:
    found = paired_t([3.0, 5.0, 10.0], [1.0, 2.0, 3.0])  # differences 2, 3, 7: mean 4, deviation sqrt(7)
    half = 4.303 * 7**0.5 / 3**0.5
    assert (found.mean, found.low, found.high) == pytest.approx((4, 4 - half, 4 + half))
    assert found.is_noise
    many = [float(i % 7) for i in range(200)]
    found = paired_t(many, [0.0] * 200)
    assert found.high - found.mean == pytest.approx(1.972 * np.std(many, ddof=1) / 200**0.5, rel=1e-3)
    with pytest.raises(ValueError, match="no interval"):
        paired_t([1.0], [2.0])
