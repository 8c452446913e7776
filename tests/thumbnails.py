"""An encoder that compares thumbnails: quick, and with no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from booth.core.encoder import Encoder


class Thumbnails(Encoder):
    """The picture at 8x8 pixels around its mean, as a unit vector."""

    name = "thumbnails"
    title = "thumbnails"
    roles = ("subject", "distribution")

    def embed(self, images: Sequence[Image]) -> Tensor:
        small = torch.from_numpy(np.stack([np.asarray(i.resize((8, 8)), np.float32) for i in images])).flatten(1)
        return F.normalize(small - small.mean(1, keepdim=True), dim=1)

    def weights_hash(self) -> str:
        return "sha256:none"

    def preprocessing(self) -> dict[str, Any]:
        return {"size": 8}
