"""An optimiser and a learning-rate schedule, as they are chosen by name."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from typing import ClassVar

import torch

from booth.core.choice import Choice
from booth.core.errors import NotAvailableError


class OptimizerFactory(Choice):
    """Makes the torch optimiser over the tensors that a method handed over."""

    state_bytes: ClassVar[int]  # that it keeps of each trained value: 8 for two moments in float32
    finds_rate: ClassVar[bool] = False  # whether it finds the learning rate itself, so that all given ones are ignored
    by_element: ClassVar[bool] = False  # whether each value moves by its own gradients alone, as sharded runs need
    package: ClassVar[tuple[str, str] | None] = None  # a module that it needs, and how that is installed

    @abstractmethod
    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over groups of `params`, each with its own `lr` and `weight_decay`."""

    def require(self) -> None:
        """NotAvailableError where the package that it needs is missing."""
        if self.package is not None and importlib.util.find_spec(self.package[0]) is None:
            raise self.missing()

    def missing(self) -> NotAvailableError:
        """What is told where its package is missing."""
        module, how = self.package or (self.__module__, "pip install it")
        return NotAvailableError(
            f"{self.name} needs {module}.",
            f"Run {how}, or use `optimizer=adamw`.",
            code="package.missing",
            field="settings.optimizer",
        )


class Schedule(Choice):
    """The way of the learning rate after its warm-up."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """What the peak learning rate is multiplied by after this share of the steps, in [0, 1)."""
