"""An encoder whose vectors are known: a picture's colour is its vector, so that every number can be worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from booth.core.encoder import Encoder
from booth.core.method import Subject
from booth.core.metric import Drawn, Evidence

SUBJECT = Subject("sks", "dog")


class Planes(Encoder):
    """The mean colour of a picture as a unit vector; prompts are read by their words for colours."""

    name = "planes"
    title = "mean colours"
    roles = ("subject", "prompt", "distribution")
    words: ClassVar[dict[str, tuple[float, float, float]]] = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        pixels = [torch.tensor(next(iter(image.resize((1, 1)).getdata())), dtype=torch.float32) for image in images]
        return F.normalize(torch.stack(pixels), dim=-1)

    def read(self, prompts: Sequence[str]) -> Tensor:
        vectors = [
            sum((torch.tensor(self.words.get(w, (0, 0, 0))) for w in p.split()), torch.zeros(3)) for p in prompts
        ]
        return F.normalize(torch.stack(vectors), dim=-1)

    def weights_hash(self) -> str:
        return "sha256:none"

    def preprocessing(self) -> dict[str, Any]:
        return {"size": 1}


def plain(r: int, g: int, b: int) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", (8, 8), (r, g, b))


X, Y, Z = plain(255, 0, 0), plain(0, 255, 0), plain(0, 0, 255)
XY = plain(255, 255, 0)  # cosine 1/sqrt(2) with X and with Y
XXY = plain(200, 100, 0)  # cosine 2/sqrt(5) with X, 1/sqrt(5) with Y


def drawn(*pictures: tuple[Image.Image, str], reference: bool = False) -> list[Drawn]:
    """Drawn pictures with their prompts; the token sks is dropped from the plain ones."""
    return [
        Drawn(image, prompt, prompt.replace("sks ", ""), i, i if reference else None)
        for i, (image, prompt) in enumerate(pictures)
    ]


def evidence(**fields: Any) -> Evidence:
    """Evidence about sks dog."""
    return Evidence(**({"subject": SUBJECT, "drawn": [], "references": []} | fields))
