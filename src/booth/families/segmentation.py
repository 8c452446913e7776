"""Where a subject is in a picture, by a segmentation network through transformers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CONFIG_MAPPING,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    PretrainedConfig,
)

from booth.core.errors import NotAvailableError, UnsafeFileError, UsageError

CLIPSEG = "CIDAS/clipseg-rd64-refined"  # CLIPSeg (2112.10003): finds whatever a word names


class Segmenter:
    """A loaded CLIPSeg, which is told the class noun, or a network that tells things apart that have names.

    It is taken from a folder or from the local cache of the Hub, never downloaded; no code of its own is run. Raises
    NotAvailableError, or UnsafeFileError for a model that only its own code can run.
    """

    def __init__(self, name: str = CLIPSEG, device: str = "cpu") -> None:
        self.name = name
        try:
            values, _ = PretrainedConfig.get_config_dict(name, local_files_only=True)
            kind = values.get("model_type")
            if kind not in CONFIG_MAPPING:
                raise UnsafeFileError(
                    f"{name} is of the kind {kind!r}, which the installed transformers does not know, and booth runs "
                    f"no code from a model's repository.",
                    f"Use {CLIPSEG}, or paint masks by hand.",
                    code="model.unknown_kind",
                    field="model",
                )
            self._reads = kind == "clipseg"
            processor: Any = CLIPSegProcessor if self._reads else AutoImageProcessor
            network: Any = CLIPSegForImageSegmentation if self._reads else AutoModelForSemanticSegmentation
            self._processor: Any = processor.from_pretrained(name, local_files_only=True)
            self._model: Any = network.from_pretrained(name, local_files_only=True)
        except (OSError, ValueError, ImportError) as error:
            raise NotAvailableError(
                f"The segmentation model {name!r} cannot be loaded: {str(error).splitlines()[0]}",
                f"Give a folder, or fetch it first with `hf download {name}`.",
                code="model.not_here",
                field="model",
            ) from error
        self._model.to(device).eval()

    @torch.no_grad()
    def __call__(self, image: Image, noun: str) -> NDArray[np.bool_]:
        """Where the noun is likelier than not in an RGB picture, (H, W); false everywhere if it is not seen."""
        size = (image.height, image.width)
        if not self._reads:
            own = self._labels(noun)
            return torch.isin(_grown(self._ask(images=image), size).argmax(0), own).cpu().numpy()
        logits = self._ask(text=[noun], images=[image])
        return (_grown(logits.reshape(1, 1, *logits.shape[-2:]), size)[0] > 0).cpu().numpy()

    def _ask(self, **asked: Any) -> Tensor:
        return self._model(**self._processor(**asked, return_tensors="pt").to(self._model.device)).logits.float()

    def _labels(self, noun: str) -> Tensor:
        """The indices of the labels that mean the noun, alone or among synonyms; UsageError if none does."""
        names: dict[int, str] = self._model.config.id2label
        own = [i for i, label in names.items() if noun.lower() in re.split(r"[;,]\s*", label.lower())]
        if not own:
            raise UsageError(
                f"{self.name} knows {len(names)} names of things, and {noun!r} is none of them.",
                f"Use {CLIPSEG}, which is told the noun, or give another `noun`.",
                code="noun.unknown_to_model",
                field="noun",
            )
        return torch.tensor(own, device=self._model.device)


def _grown(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, H, W) of logits (1, C, h, w)."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0]
