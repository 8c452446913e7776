"""What everything in the smaller registries must hold to. A new entry is tested here without a new test.

The checks are `booth.testing`'s, which authors of plug-ins run too.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from booth.registry import LOSSES, METRICS, OPTIMIZERS, REGISTRIES, SCHEDULES, TIMESTEPS, WEIGHTINGS
from booth.testing import Check, checks_of

ON_GPU = {"adamw8bit"}
CASES = [
    pytest.param(check, id=f"{name}-{str(check).partition('-')[2]}")
    for registry in (OPTIMIZERS, SCHEDULES, WEIGHTINGS, LOSSES, TIMESTEPS, METRICS)
    for name in registry.own
    if name not in ON_GPU
    for check in checks_of(registry[name])
]


@pytest.mark.parametrize("check", CASES)
def test_what_is_chosen_by_name_keeps_its_promise(check: Check, tmp_path: Path) -> None:
    check(tmp_path)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_every_entry_is_of_the_kind_and_has_its_name(registry) -> None:
    for name in registry.own:
        registry.require_kind(registry[name], name)
        assert registry[name].name == name


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_an_entry_lies_where_its_module_says(registry) -> None:
    for name in registry.own:
        module = registry[name].__module__
        assert importlib.util.find_spec(module), module
