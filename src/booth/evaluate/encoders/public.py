"""Public encoders from the user's Hugging Face cache: CLIP ViT-B/32, DINO ViT-S/16 and DINOv2 ViT-B/14.

Nothing is downloaded and nothing needs torchvision: pictures go through transformers' PIL image processors. Some of
these repositories hold no safetensors; transformers reads their weights with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.encoder import Encoder
from booth.core.errors import NotAvailableError
from booth.core.json_values import Json
from booth.train.setup import choose_device

WEIGHTS = ("*.safetensors", "pytorch_model.bin")
STEPS = (
    "do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std",
)  # fmt: skip
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def cached(hub: str) -> Path:
    """The folder of a repository in the user's cache; NotAvailableError, with what to do, if it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub, local_files_only=True))
    except (LocalEntryNotFoundError, OSError) as error:
        raise _missing(hub) from error
    if not any(True for pattern in WEIGHTS for _ in folder.glob(pattern)):
        raise _missing(hub)
    return folder


def _missing(hub: str) -> NotAvailableError:
    return NotAvailableError(
        f"The encoder {hub} is not in the local cache, and booth downloads none by itself.",
        f"Run `hf download {hub}` while online, or leave it out: world-identity, world-agreement and world-judges as "
        "`encoders` use what is in the package.",
        code="encoder.not_cached",
        field="encoders",
    )


@lru_cache(maxsize=8)
def weights_hash(folder: Path) -> str:
    """The sha256 of what transformers reads: safetensors where there are any."""
    found = sorted(folder.glob(WEIGHTS[0])) or sorted(folder.glob(WEIGHTS[1]))
    digest = hashlib.sha256()
    for file in found:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


class PublicEncoder(Encoder):
    """A vision transformer of the Hub with its image processor."""

    hub: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = cached(self.hub)
        self.device = choose_device(None)
        self.model: Any = self.load(self.folder).to(self.device).eval().requires_grad_(False)
        self.processor: Any = self.make_processor(self.folder)

    @classmethod
    def require(cls) -> None:
        cached(cls.hub)

    @abstractmethod
    def load(self, folder: Path) -> nn.Module:
        """The network."""

    @abstractmethod
    def make_processor(self, folder: Path) -> Any:
        """The image processor, in PIL."""

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Vectors (B, D) of preprocessed pictures (B, 3, H, W)."""

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Tensor:
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return F.normalize(self.features(pixels.to(self.device)).float(), dim=-1).cpu()

    def weights_hash(self) -> str:
        return weights_hash(self.folder)

    def preprocessing(self) -> dict[str, Json]:
        settings = self.processor.to_dict()
        return {step: settings[step] for step in STEPS if step in settings}


class Clip(PublicEncoder):
    """CLIP (2103.00020) ViT-B/32, the one of every public re-implementation of DreamBooth's CLIP-I and CLIP-T."""

    name = "clip-vit-base-patch32"
    title = "CLIP ViT-B/32"
    hub = "openai/clip-vit-base-patch32"
    roles = ("subject", "prompt", "distribution")
    titles: ClassVar[dict[str, str]] = {"subject_similarity": "CLIP-I", "prompt_similarity": "CLIP-T"}

    def load(self, folder: Path) -> nn.Module:
        from transformers import CLIPModel, CLIPTokenizer

        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return CLIPModel.from_pretrained(folder, local_files_only=True)

    def make_processor(self, folder: Path) -> Any:
        from transformers import CLIPImageProcessorPil

        return CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def features(self, pixels: Tensor) -> Tensor:
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    @torch.no_grad()
    def read(self, prompts: Sequence[str]) -> Tensor:
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        out = self.model.get_text_features(**tokens.to(self.device)).pooler_output
        return F.normalize(out.float(), dim=-1).cpu()


class Dino(PublicEncoder):
    """DINO (2104.14294) ViT-S/16, DreamBooth's own; preprocessing as DINO's evaluation, not as the repository says."""

    name = "dino-vits16"
    title = "DINO ViT-S/16"
    hub = "facebook/dino-vits16"
    roles = ("subject", "distribution")
    titles: ClassVar[dict[str, str]] = {"subject_similarity": "DINO"}

    def load(self, folder: Path) -> nn.Module:
        from transformers import ViTModel

        return ViTModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True)

    def make_processor(self, folder: Path) -> Any:
        """Resize to 256, bicubic, the middle 224, ImageNet's mean and deviation."""
        from transformers import CLIPImageProcessorPil

        side = self.model.config.image_size  # 224
        return CLIPImageProcessorPil(
            size={"shortest_edge": side * 256 // 224},
            crop_size={"height": side, "width": side},
            image_mean=IMAGENET_MEAN,
            image_std=IMAGENET_STD,
        )

    def features(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]


class DinoV2(PublicEncoder):
    """DINOv2 (2304.07193) ViT-B/14 with the repository's own preprocessing."""

    name = "dinov2-base"
    title = "DINOv2 ViT-B/14"
    hub = "facebook/dinov2-base"
    roles = ("subject", "distribution")
    titles: ClassVar[dict[str, str]] = {"subject_similarity": "DINOv2"}

    def load(self, folder: Path) -> nn.Module:
        from transformers import Dinov2Model

        return Dinov2Model.from_pretrained(folder, local_files_only=True)

    def make_processor(self, folder: Path) -> Any:
        from transformers import BitImageProcessorPil

        return BitImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def features(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]
