"""What is minimised: which noise levels are drawn, how an error is measured, and how much each level counts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from booth.core.choice import Choice
from booth.core.rng import Rng

Prediction = Literal["epsilon", "velocity", "flow"]  # eps; alpha eps - sigma x_0; eps - x_0 on a straight line


@dataclass(frozen=True)
class NoiseLevels:
    """Where the rows of a batch lie on the noise axis: x = sqrt(signal) x_0 + sqrt(noise) eps."""

    signal: Tensor  # (B,) alpha^2, in float64
    noise: Tensor  # (B,) sigma^2, in float64
    prediction: Prediction

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio (B,); a noise-free level has a large finite one."""
        return self.signal / self.noise.clamp(min=1e-12)


class Weighting(Choice):
    """How much the squared error of each noise level counts."""

    source: ClassVar[str]
    predictions: ClassVar[tuple[Prediction, ...]] = ("epsilon", "velocity", "flow")  # what it is defined for

    @abstractmethod
    def __call__(self, levels: NoiseLevels) -> Tensor:
        """A finite weight (B,) for each row, of the error in what the base predicts."""


class Loss(Choice):
    """How far a prediction is from its target, place by place."""

    source: ClassVar[str]

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The error (B, C, h, w) in float32, 0 where both are equal."""


class TimestepSampler(Choice):
    """Which noise levels are drawn."""

    source: ClassVar[str]

    @abstractmethod
    def __call__(self, rng: Rng, size: int) -> Tensor:
        """The positions (size,) of rows on the noise axis, each in [0, 1); the same for the same `rng`."""
