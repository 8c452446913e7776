"""LPIPS (1801.03924) version 0.1: a perceptual distance of two pictures, from the authors' own weights.

The weights are read from $BOOTH_CACHE/lpips-alex.safetensors or lpips-vgg.safetensors, which hold the state of the
authors' module as it is: the convolutions of AlexNet or VGG16, and the linear layers that weigh their channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from booth.core.cache import cache_folder
from booth.core.errors import BadDataError
from booth.core.safe_file import read_tensors

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]


@dataclass(frozen=True)
class Trunk:
    """The part of a classifier whose features are compared; numbers are torchvision's of its convolutions."""

    slices: tuple[tuple[int, ...], ...]  # the last convolution of each, after its ReLU, is compared
    pool: int  # side of the windows of the maximum, two pixels apart
    pooled: tuple[int, ...]  # slices before which that is taken
    first: tuple[int, int]  # stride and padding of the first convolution; all others keep the size


TRUNKS = {
    "alex": Trunk(((0,), (3,), (6,), (8,), (10,)), 3, (1, 2), (4, 2)),
    "vgg": Trunk(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), 2, (1, 2, 3, 4), (1, 1)),
}


class Lpips:
    """One network from a file; BadDataError for a file of something else."""

    def __init__(self, net: str, file: Path) -> None:
        self.net, self._trunk = net, TRUNKS[net]
        tensors = {name: tensor.float() for name, tensor in read_tensors(file)[0].items()}
        self.weights_hash = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        try:
            self._convolutions = {
                i: (tensors[f"net.slice{k}.{i}.weight"], tensors[f"net.slice{k}.{i}.bias"])
                for k, slice_ in enumerate(self._trunk.slices, 1)
                for i in slice_
            }
            # The authors' module lists these layers twice, and a file holds one of the two.
            self._linear = [_either(tensors, f"lin{k}.model.1.weight", f"lins.{k}.model.1.weight") for k in range(5)]
        except KeyError as error:
            raise BadDataError(
                f"{file} has no tensor {error}, so it is not LPIPS with {net}.", f"{advice(net)}", code="lpips.unfit"
            ) from error

    @torch.no_grad()
    def distances(self, images: Sequence[Image]) -> list[float]:
        """Of each pair of pictures, all of one size: from 0 for the same picture up."""
        return [self._distance(a, b) for a, b in combinations([self._features(image) for image in images], 2)]

    def _distance(self, a: list[Tensor], b: list[Tensor]) -> float:
        layers = zip(a, b, self._linear, strict=True)
        return sum(float(F.conv2d((x - y) ** 2, weight).mean()) for x, y, weight in layers)

    def _features(self, image: Image) -> list[Tensor]:
        """The features of each slice, (1, C, h, w), of length 1 at each place."""
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
        shift, scale = (torch.tensor(values)[None, :, None, None] for values in (SHIFT, SCALE))
        x, found = (pixels - shift) / scale, list[Tensor]()
        for k, slice_ in enumerate(self._trunk.slices):
            if k in self._trunk.pooled:
                x = F.max_pool2d(x, self._trunk.pool, 2)
            for i in slice_:
                weight, bias = self._convolutions[i]
                stride, padding = self._trunk.first if i == 0 else (1, weight.shape[-1] // 2)
                x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def cached_lpips() -> Sequence[Lpips]:
    """Every network whose file lies in booth's cache."""
    files = {net: file_of(net) for net in TRUNKS}
    return [_loaded(net, file) for net, file in files.items() if file.is_file()]


def file_of(net: str) -> Path:
    """Where the weights are looked for."""
    return cache_folder() / f"lpips-{net}.safetensors"


def advice(net: str) -> str:
    """How to make the file where the authors' package is installed."""
    return (
        'Where the package lpips is installed, make it with: python -c "import lpips; from safetensors.torch import '
        f"save_model; save_model(lpips.LPIPS(net='{net}'), '{file_of(net)}')\""
    )


@lru_cache(maxsize=2)
def _loaded(net: str, file: Path) -> Lpips:
    return Lpips(net, file)


def _either(tensors: dict[str, Tensor], first: str, second: str) -> Tensor:
    return tensors[second] if second in tensors else tensors[first]
