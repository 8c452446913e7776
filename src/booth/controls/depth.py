"""Depth maps by a network of transformers, from the user's cache."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from booth.core.control import Control
from booth.core.errors import NotAvailableError

# Depth Anything (2401.10891, 2406.09414) and DPT (2103.13413): all tell nearness up to scale and shift.
MODELS = (
    "depth-anything/Depth-Anything-V2-Small-hf",
    "LiheYoung/depth-anything-small-hf",
    "Intel/dpt-hybrid-midas",
    "Intel/dpt-large",
)


class Depth(Control):
    """How near each place is, as MiDaS and the depth ControlNets draw it."""

    name = "depth"
    title = "Depth"
    shows = "grey, the nearer the brighter"

    def __init__(self, models: tuple[str, ...] = MODELS) -> None:
        """`models` are Hub ids or folders; the first that is on this machine is used."""
        self.models = models

    def __call__(self, picture: Image.Image) -> Image.Image:
        grey = np.rint(nearness(picture, self.models) * 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")


def nearness(picture: Image.Image, models: tuple[str, ...]) -> NDArray[np.float32]:
    """(H, W) from 0, the farthest place of an RGB picture, to 1, the nearest."""
    processor, network = _loaded(models)
    with torch.no_grad():
        output = network(**processor(images=picture, return_tensors="pt"))
    size = (picture.height, picture.width)
    near = processor.post_process_depth_estimation(output, target_sizes=[size])[0]["predicted_depth"].float().numpy()
    low, high = near.min(), near.max()
    return (near - low) / max(high - low, 1e-9)


@lru_cache(maxsize=1)
def _loaded(models: tuple[str, ...]) -> tuple[Any, Any]:
    """The image processor and the network of the first of `models` that is here."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    for model in models:
        try:
            processor = AutoImageProcessor.from_pretrained(model, local_files_only=True)
            network = AutoModelForDepthEstimation.from_pretrained(model, local_files_only=True, use_safetensors=True)
            return processor, network.eval()
        except OSError:  # not in the cache
            continue
    raise NotAvailableError(
        f"Depth and normal hints need a depth network, and none of {', '.join(models)} is in the local cache.",
        f"Run `hf download {models[0]}`, or lay hints of your own beside the pictures.",
        code="control.network_missing",
        field="settings.control",
    )
