"""Steps 2 and 4 of the loop: x_t, t, the target and its weight, always made together so that they cannot disagree.

Notation follows Ho et al. (2006.11239) and Salimans & Ho (2202.00512): x_t = alpha_t x_0 + sigma_t eps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from booth.core.rng import Rng


@dataclass(frozen=True)
class Noised:
    """What one noising draw yields."""

    x_t: Tensor  # (B, C, h, w) noised latents
    t: Tensor  # (B,) what the denoiser is told: an integer timestep, or sigma * 1000 for flow matching
    target: Tensor  # (B, C, h, w) what it should predict
    weight: Tensor  # (B,) weight of each row's squared error


class Noising(ABC):
    """How a family adds noise and what its denoiser predicts."""

    @abstractmethod
    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        """Noise clean `latents` (B, C, h, w) at independently drawn timesteps."""


class TimestepSampler(Protocol):
    """Draws `size` numbers in [0, 1): the position of each row on the noise axis."""

    def __call__(self, rng: Rng, size: int) -> Tensor: ...


def uniform_timesteps(rng: Rng, size: int) -> Tensor:
    """Every noise level equally often (Ho et al.)."""
    return rng.uniform("timestep", size)


@dataclass(frozen=True)
class LogitNormalTimesteps:
    """Noise levels drawn as sigmoid(N(mean, std)), so that the middle is seen most (Esser et al., 2403.03206)."""

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, rng: Rng, size: int) -> Tensor:
        z = torch.randn(size, generator=rng.generator("timestep"))
        return torch.sigmoid(self.mean + self.std * z).clamp(max=1 - 1e-6)


class _Discrete(Noising):
    """Variance-preserving noise on the integer timesteps of a DDPM schedule."""

    def __init__(
        self,
        alphas_cumprod: Tensor,
        min_snr_gamma: float | None = None,
        timesteps: TimestepSampler = uniform_timesteps,
    ) -> None:
        self.alphas_cumprod = alphas_cumprod.double()
        self.min_snr_gamma = min_snr_gamma
        self.timesteps = timesteps

    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        count = len(self.alphas_cumprod)
        t = (self.timesteps(rng, len(latents)) * count).long()
        eps = rng.normal("noise", latents)
        alpha, sigma = self._alpha_sigma(t, latents)
        x_t = alpha * latents + sigma * eps
        return Noised(x_t, t.to(latents.device), self._target(latents, eps, alpha, sigma), self.weight(t).to(latents))

    def _alpha_sigma(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return a.sqrt().to(like), (1 - a).sqrt().to(like)

    def weight(self, t: Tensor) -> Tensor:
        """Min-SNR weight (Hang et al., 2303.09556) of each timestep; 1 when no gamma is set."""
        if self.min_snr_gamma is None:
            return torch.ones(len(t))
        a = self.alphas_cumprod[t]
        # SNR is infinite at a noise-free step and 0 at a signal-free one; both limits of the weight are finite.
        snr = a / (1 - a).clamp(min=1e-12)
        return self._min_snr(snr, snr.clamp(max=self.min_snr_gamma)).float()

    @abstractmethod
    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor: ...

    @abstractmethod
    def _min_snr(self, snr: Tensor, clipped: Tensor) -> Tensor: ...


class Epsilon(_Discrete):
    """The denoiser predicts the noise eps; min-SNR weight min(SNR, gamma) / SNR."""

    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return eps

    def _min_snr(self, snr: Tensor, clipped: Tensor) -> Tensor:
        return torch.where(snr > 0, clipped / snr.clamp(min=1e-12), torch.ones_like(snr))


class Velocity(_Discrete):
    """The denoiser predicts v = alpha_t eps - sigma_t x_0; min-SNR weight min(SNR, gamma) / (SNR + 1)."""

    def _target(self, latents: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha * eps - sigma * latents

    def _min_snr(self, snr: Tensor, clipped: Tensor) -> Tensor:
        return clipped / (snr + 1)


class FlowMatch(Noising):
    """Rectified flow (Liu et al., 2209.03003): x_sigma = (1 - sigma) x_0 + sigma eps, target eps - x_0.

    `shift` moves the noise levels towards 1 as larger pictures need (Esser et al., 2403.03206, eq. 23); it is one
    number, or follows from the latents.
    """

    def __init__(
        self, timesteps: TimestepSampler = uniform_timesteps, shift: float | Callable[[Tensor], float] = 1.0
    ) -> None:
        self.timesteps = timesteps
        self.shift = shift

    def sample(self, latents: Tensor, rng: Rng) -> Noised:
        u = self.timesteps(rng, len(latents))
        shift = self.shift(latents) if callable(self.shift) else self.shift
        sigma = (shift * u / (1 + (shift - 1) * u)).to(latents)
        eps = rng.normal("noise", latents)
        s = sigma.view(-1, 1, 1, 1)
        return Noised((1 - s) * latents + s * eps, sigma * 1000, eps - latents, torch.ones_like(sigma))
