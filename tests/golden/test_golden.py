"""The golden numbers are still what the code computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import golden_numbers as golden
from booth.registry import METHODS

# One part in ten thousand: another CPU sums in another order, and AdamW turns the smallest gradients' signs into
# whole steps. A wrong formula changes far more.
TOLERANCE = 1e-4
# Softmax ignores what is added to all keys alike: the gradient of a bias there is rounding, which AdamW magnifies.
LOOSE = {"hypernetwork": {"size": 1e-2, "moved": 1e-2}}


@pytest.mark.parametrize("name", METHODS)
def test_the_numbers_are_unchanged(toy_base: Path, name: str):
    """On purpose? Then run `make golden` and say why in the commit."""
    file = golden.file_of(name)
    assert file.is_file(), f"{name} has no golden numbers yet: run `make golden`"
    expected, computed = json.loads(file.read_text()), golden.compute(toy_base, name)
    assert computed.keys() == expected.keys()
    for stage, values in expected.items():
        loose = LOOSE.get(name, {})
        assert computed[stage] == {k: pytest.approx(v, rel=loose.get(k, TOLERANCE)) for k, v in values.items()}, stage
