"""EfficientNet-Lite0's pooled features as an encoder that has seen photographs and needs no Hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as Images
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from booth import imagenet
from booth.core.encoder import Encoder
from booth.train.setup import choose_device


class EfficientNetLite0(Encoder):
    """A supervised network: it forgives differences within one of ImageNet's classes, such as two dogs of a breed.

    DINO and CLIP tell individuals apart better and count where they are in the cache; this one is used where it is
    called for.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0, supervised, forgiving within a class"
    roles = ("subject", "distribution")
    on_request = True

    def __init__(self) -> None:
        super().__init__()
        self.device = choose_device(None)
        self.net: Any = imagenet.efficientnet_lite0().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Tensor:
        side = (imagenet.SIDE, imagenet.SIDE)
        small = np.stack([np.asarray(_square(i).resize(side, Images.Resampling.BICUBIC), np.float32) for i in images])
        pixels = torch.from_numpy((small - imagenet.MEAN) / imagenet.SCALE).permute(0, 3, 1, 2)
        features = self.net.extract_features(pixels.to(self.device)).mean((2, 3))
        return F.normalize(features.float(), dim=-1).cpu()

    def weights_hash(self) -> str:
        return imagenet.weights_hash()

    def preprocessing(self) -> dict[str, Any]:
        return {
            "crop": "centre square", "size": imagenet.SIDE, "resample": "bicubic",
            "mean": imagenet.MEAN, "scale": imagenet.SCALE,
        }  # fmt: skip


def _square(image: Image) -> Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
