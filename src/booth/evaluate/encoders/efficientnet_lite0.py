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
from booth.core.json_values import Json
from booth.train.setup import choose_device


class EfficientNetLite0(Encoder):
    """A supervised network: it forgives differences within one of ImageNet's classes, such as two dogs of a breed.

    DINO and CLIP count where they are in the cache. Where neither is, it compares subjects on full-size bases, for
    unlike the world's judges it has seen photographs; elsewhere it is used where it is called for.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0, supervised, forgiving within a class"
    roles = ("subject", "distribution")
    stands_in = True

    def __init__(self) -> None:
        super().__init__()
        self.device = choose_device(None)
        self.net: Any = imagenet.efficientnet_lite0(field="encoders").requires_grad_(False).to(self.device)

    @classmethod
    def require(cls) -> None:
        imagenet.weights_file(field="encoders")

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Tensor:
        small = np.stack([np.asarray(_middle(image), np.float32) for image in images])  # (N, 224, 224, 3)
        pixels = torch.from_numpy((small - imagenet.MEAN) / imagenet.SCALE).permute(0, 3, 1, 2)
        features = self.net.extract_features(pixels.to(self.device)).mean((2, 3))  # (N, 1280)
        return F.normalize(features.float(), dim=-1).cpu()

    def weights_hash(self) -> str:
        return f"sha256:{imagenet.WEIGHTS}"

    def preprocessing(self) -> dict[str, Json]:
        return {
            "crop": "centre square", "of_the_shorter_side": imagenet.CROP, "size": imagenet.SIDE, "resample": "bicubic",
            "mean": imagenet.MEAN, "scale": imagenet.SCALE,
        }  # fmt: skip


def _middle(image: Image) -> Image:
    """The middle of a picture at the network's size, as its authors cut it to tell how often it is right."""
    side = int(imagenet.CROP * min(image.size))
    left, top = (image.width - side + 1) // 2, (image.height - side + 1) // 2
    cut = image.crop((left, top, left + side, top + side))
    return cut.resize((imagenet.SIDE, imagenet.SIDE), Images.Resampling.BICUBIC)
