"""A clock that ticks a second a look, so that a budget of minutes is a number of steps."""

from __future__ import annotations

import itertools

import pytest

from booth.world import fit


@pytest.fixture
def ticking_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(fit.time, "monotonic", lambda: float(next(ticks)))
