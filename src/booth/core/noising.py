"""Steps 2 and 4 of the loop: x_t, t, the target, its weight and its loss, always made together so that they agree.

Notation follows Ho et al. (2006.11239) and Salimans & Ho (2202.00512): x_t = alpha_t x_0 + sigma_t eps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from booth.core.objective import Loss, NoiseLevels, Prediction, TimestepSampler, Weighting
from booth.core.rng import Rng, moved, on_device


@dataclass(frozen=True)
class Noised:
    """What one noising draw yields."""

    x_t: Tensor  # (B, C, h, w) noised latents
    t: Tensor  # (B,) what the denoiser is told: an integer timestep, or sigma * 1000 for flow matching
    target: Tensor  # (B, C, h, w) what it should predict
    weight: Tensor  # (B,) weight of each row's error
    loss: Loss | None = None  # how the error is measured; none = squared


class Noising(ABC):
    """How a family adds noise and what its denoiser predicts, with what a run chooses about it."""

    prediction: ClassVar[Prediction]
    timesteps: TimestepSampler | None  # none = every noise level equally often
    weighting: Weighting | None = None  # none = every noise level counts the same
    loss: Loss | None = None

    @abstractmethod
    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        """Noise clean `latents` (B, C, h, w) at independently drawn timesteps."""

    def chosen(self, weighting: Weighting | None, loss: Loss | None, timesteps: TimestepSampler | None) -> Noising:
        """The same noising with another weighting and loss and, if one is given, other timesteps."""
        other = copy(self)
        other.weighting, other.loss = weighting, loss
        other.timesteps = timesteps or self.timesteps
        return other

    def _positions(self, rng: Rng, size: int) -> Tensor:
        return rng.uniform("timestep", size) if self.timesteps is None else self.timesteps(rng, size)

    def _weight(self, signal: Tensor, noise: Tensor) -> Tensor:
        if self.weighting is None:
            return torch.ones(len(signal))
        return self.weighting(NoiseLevels(signal, noise, self.prediction)).float()


class _Discrete(Noising):
    """Variance-preserving noise on the integer timesteps of a DDPM schedule."""

    def __init__(
        self,
        alphas_cumprod: Tensor,
        weighting: Weighting | None = None,
        timesteps: TimestepSampler | None = None,
    ) -> None:
        self.alphas_cumprod = alphas_cumprod.double()
        self.weighting = weighting
        self.timesteps = timesteps

    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        count = len(self.alphas_cumprod)
        t = (self._positions(rng, len(latents)) * count).long()
        eps = rng.normal("noise", latents)
        alpha, sigma = self._alpha_sigma(t, latents)
        x_t = alpha * latents + sigma * eps
        target, weight = self._target(latents, eps, alpha, sigma), moved(self.weight(t), latents)
        return Noised(x_t, on_device(t, latents.device), target, weight, self.loss)

    def _alpha_sigma(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return moved(a.sqrt(), like), moved((1 - a).sqrt(), like)

    def weight(self, t: Tensor) -> Tensor:
        """The weight (B,) of each timestep."""
        a = self.alphas_cumprod[t]
        return self._weight(a, 1 - a)

    @abstractmethod
    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor: ...


class Epsilon(_Discrete):
    """The denoiser predicts the noise eps."""

    prediction = "epsilon"

    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return eps


class Velocity(_Discrete):
    """The denoiser predicts v = alpha_t eps - sigma_t x_0."""

    prediction = "velocity"

    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha * eps - sigma * latents


class FlowMatch(Noising):
    """Rectified flow (Liu et al., 2209.03003): x_sigma = (1 - sigma) x_0 + sigma eps, target eps - x_0.

    `shift` moves the noise levels towards 1 as larger pictures need (Esser et al., 2403.03206, eq. 23); it is one
    number, or follows from the latents.
    """

    prediction = "flow"

    def __init__(
        self, timesteps: TimestepSampler | None = None, shift: float | Callable[[Tensor], float] = 1.0
    ) -> None:
        self.timesteps = timesteps
        self.shift = shift

    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        u = self._positions(rng, len(latents))
        shift = self.shift(latents) if callable(self.shift) else self.shift
        levels = shift * u / (1 + (shift - 1) * u)
        sigma = moved(levels, latents)
        eps = rng.normal("noise", latents)
        s = sigma.view(-1, 1, 1, 1)
        weight = moved(self._weight((1 - levels.double()) ** 2, levels.double() ** 2), sigma)
        return Noised((1 - s) * latents + s * eps, sigma * 1000, eps - latents, weight, self.loss)
