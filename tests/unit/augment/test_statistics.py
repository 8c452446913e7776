"""Numbers of the proof beside those of other libraries, and beside what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from booth.augment.distort import cut_mix, rand_augment
from booth.augment.proof.statistics import Contrast, Said, contrast, holm, recalls, resampled_balanced
from booth.augment.proof.verdicts import verdict


def said(accuracy: float, seed: int, count: int = 200, seeds: int = 2, groups: int = 100) -> Said:
    rng = np.random.default_rng(seed)
    wanted = np.arange(count) % 4
    right = rng.random((seeds, count)) < accuracy
    called = np.where(right, wanted, (wanted + 1) % 4)
    return Said(np.eye(4)[called], wanted, np.arange(count) % groups)


def test_recall_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    one = said(0.7, 0)
    theirs = metrics.recall_score(one.wanted, one.probabilities[0].argmax(1), average=None)
    assert recalls(one)[0] == pytest.approx(theirs)
    assert recalls(one)[0].mean() == pytest.approx(
        metrics.balanced_accuracy_score(one.wanted, one.probabilities[0].argmax(1))
    )


def test_the_bootstrap_is_around_the_value_and_wider_where_groups_are_fewer() -> None:
    one = said(0.7, 0)
    narrow = resampled_balanced(one, 0, 0)
    copies = Said(np.tile(one.probabilities[:, :50], (1, 4, 1)), np.tile(one.wanted[:50], 4), np.tile(np.arange(50), 4))
    assert narrow.mean() == pytest.approx(recalls(one).mean(), abs=0.01)
    assert resampled_balanced(copies, 0, 0).std() > 1.3 * narrow.std(), "four pictures of one thing are no four things"


def test_equal_arms_are_called_different_as_rarely_as_the_interval_says() -> None:
    wrong = 0
    for seed in range(60):
        found = contrast("c", "a", "b", {"a": said(0.7, 2 * seed), "b": said(0.7, 2 * seed + 1)}, seed)
        wrong += not found.low <= 0 <= found.high
    assert wrong <= 7  # 3 are expected


def test_a_better_arm_is_found() -> None:
    found = contrast("c", "a", "b", {"a": said(0.9, 1), "b": said(0.6, 2)})
    assert found.low > 0
    assert found.mean == pytest.approx(30, abs=8)
    assert found.p < 0.01


def test_holm_is_as_published() -> None:
    found = [Contrast("c", str(i), "b", 0, 0, 0, p) for i, p in enumerate((0.01, 0.04, 0.03, 0.005))]
    assert [round(c.holm, 6) for c in holm(found)] == [0.03, 0.06, 0.06, 0.02]


@pytest.mark.parametrize(
    ("mean", "low", "high", "corrected", "word"),
    [
        (3, 1, 5, 0.01, "use it"),
        (3, 1, 5, 0.2, "no measurable gain"),
        (1, -1, 3, 0.3, "no measurable gain"),
        (-4, -6, -2, 0.01, "harmful"),
    ],
)
def test_verdicts(mean: float, low: float, high: float, corrected: float, word: str) -> None:
    found = verdict(Contrast("c", "lora", "oversampling", mean, low, high, 0.001, corrected), None)
    assert found.word == word
    assert ("oversampling" in found.sentence) == (word != "use it") or "against oversampling" in found.sentence


def test_too_good_a_gain_is_told() -> None:
    found = verdict(Contrast("c", "lora", "oversampling", 14, 9, 19, 0.001, 0.001), None)
    assert "look for a leak first" in found.sentence


@pytest.mark.parametrize(("low", "told"), [(-6.2, True), (0.4, False)])
def test_what_distorted_real_pictures_may_do_as_well_is_told(low: float, told: bool) -> None:
    placebo = Contrast("c", "lora", "placebo", 0.6, low, 7.4, 0.8, 1.0)
    found = verdict(Contrast("c", "lora", "oversampling", 5.3, 1.4, 9.5, 0.016, 0.032), placebo)
    assert found.word == "use it"
    assert (f"real pictures lightly distorted, which cost nothing: +0.6 [{low:+.1f}, +7.4]." in found.sentence) is told


def test_cheap_distortions_keep_size_and_mix_targets() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    assert all(rand_augment(p, rng).shape == (32, 32, 3) for _ in range(40) for p in pixels[:1])
    mixed, targets = cut_mix(pixels, np.eye(4), rng)
    assert mixed.shape == pixels.shape
    assert targets.sum(1) == pytest.approx(np.ones(4))
    share = np.array([(mixed[i] == pixels[i]).all(2).mean() for i in range(4)])
    assert targets.max(1) == pytest.approx(np.maximum(share, 1 - share), abs=0.02)
