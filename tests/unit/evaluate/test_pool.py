"""Means over subjects."""

from __future__ import annotations

from typing import Any

import pytest

from booth.core.errors import UsageError
from booth.evaluate.pool import pooled


def evaluation(concept: str, value: float, base: float, **protocol: Any) -> dict[str, Any]:
    return {
        "concept": concept,
        "metrics": {"subject_similarity/x": {"value": value}, f"only/{concept}": {"value": 1.0}},
        "base": {"subject_similarity/x": {"value": base}},
        "protocol": {"seeds": [0], "templates": [concept]} | protocol,
        "encoders": {"x": {"weights": "sha256:1"}},
        "masks": {"painted": 0, "by": "what stands out"},
    }


def test_every_subject_counts_the_same_and_is_paired_with_its_base() -> None:
    found = pooled([evaluation(n, v, v - 0.2) for n, v in (("a", 0.9), ("b", 0.5), ("c", 0.4))])
    assert list(found) == ["subject_similarity/x"]
    number = found["subject_similarity/x"]
    assert (number["value"], number["subjects"]) == (pytest.approx(0.6), 3)
    assert number["low"] < 0.6 < number["high"]
    gain = number["over_base"]
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx((0.2, 0.2, 0.2))


def test_what_was_measured_otherwise_has_no_common_mean() -> None:
    with pytest.raises(UsageError, match="b was not evaluated as a was"):
        pooled([evaluation("a", 1, 0), evaluation("b", 1, 0, seeds=[1])])
