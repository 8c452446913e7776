"""Checks that a plug-in's author runs on their own: what booth's own tests ask of all that is chosen by name.

In a test file of pytest::

    from booth.testing import checks_of

    @pytest.mark.parametrize("check", checks_of(MyMethod), ids=str)
    def test_my_method(check, tmp_path):
        check(tmp_path)

or from the command line, for anything that is chosen by name: `python -m booth.testing my_package.my_module:MyClass`.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from booth.core.encoder import Encoder
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Method
from booth.core.metric import Metric
from booth.core.objective import Loss, TimestepSampler, Weighting
from booth.core.optimizer import OptimizerFactory, Schedule
from booth.export.exporter import Exporter
from booth.registry import METHODS
from booth.testing import evaluation, exporters, families, methods, objectives, optimizers
from booth.testing.steps import SUBJECT
from booth.testing.toy import write_toy_base

ON_FAMILIES = ("textual_inversion", "lora")  # what a new family is tried with, where it has their sites


@dataclass(frozen=True)
class Check:
    """One promise; it raises AssertionError, with what is wrong, where it is not kept."""

    name: str
    promise: str
    run: Callable[[Path], None]

    def __call__(self, folder: Path) -> None:
        """Look whether the promise is kept, with files in an empty `folder`; on one thread, whose sums repeat."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.run(folder)
        finally:
            torch.set_num_threads(threads)

    def __str__(self) -> str:
        return self.name


def checks_of(kind: type, base: Path | None = None, **settings: Any) -> list[Check]:
    """Every check for a class that is chosen by name, with `settings` that are not its defaults.

    A method and a format are checked on the toy base, a random Stable Diffusion of 32 pixels, or on the `base` in a
    folder; a family on a tiny `base` of its own, which has to be given. UsageError for a class without checks.
    """
    if issubclass(kind, Family):
        if base is None and kind.name != "stable_diffusion":
            raise UsageError(
                f"{kind.__name__} is checked on a base of its own.",
                "Give the folder of a tiny one with `base`.",
                code="plugin.base_missing",
                field="base",
            )
        able = [name for name in ON_FAMILIES if set(METHODS[name].needs) <= set(kind.offers)]
        return [*_on_base(kind, families.CHECKS, base), *(c for name in able for c in checks_of(METHODS[name], base))]
    if issubclass(kind, Exporter):
        return _on_base(kind, exporters.CHECKS, base)
    if issubclass(kind, Method):

        def make(**more: Any) -> Method:
            return kind(kind.Config(**(kind.defaults("tiny") | settings | more)), SUBJECT)

        return [
            _check(kind, check, lambda f, check=check: check(make, base or toy_base(), f)) for check in methods.CHECKS
        ]
    for derived, checks in SIMPLE.items():
        if issubclass(kind, derived):
            return [_check(kind, check, lambda _, check=check: check(partial(kind, **settings))) for check in checks]
    raise UsageError(
        f"There are no checks for {kind.__name__}, which derives from nothing that is chosen by name.",
        code="plugin.of_no_kind",
    )


def _on_base(kind: type, checks: Sequence[Callable[..., None]], base: Path | None) -> list[Check]:
    return [_check(kind, check, lambda f, check=check: check(kind, base or toy_base(), f)) for check in checks]


@lru_cache(maxsize=1)
def toy_base() -> Path:
    """The folder of the toy base, written once a process; read only."""
    folder = tempfile.mkdtemp(prefix="booth-toy-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_toy_base(Path(folder) / "toy")


def _check(kind: type, check: Callable[..., None], run: Callable[[Path], None]) -> Check:
    return Check(f"{kind.__name__}-{check.__name__}", (check.__doc__ or "").partition("\n")[0], run)


SIMPLE: dict[type, tuple[Callable[[Callable[..., Any]], None], ...]] = {
    OptimizerFactory: optimizers.OPTIMIZER_CHECKS,
    Schedule: optimizers.SCHEDULE_CHECKS,
    Weighting: objectives.WEIGHTING_CHECKS,
    Loss: objectives.LOSS_CHECKS,
    TimestepSampler: objectives.TIMESTEP_CHECKS,
    Metric: evaluation.METRIC_CHECKS,
    Encoder: evaluation.ENCODER_CHECKS,
}
