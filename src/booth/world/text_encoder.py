"""The embedded base's text encoder, trained contrastively against an image tower as CLIP's was (2103.00020)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from booth.core.rng import Rng
from booth.core.tokens import RARE_TOKENS
from booth.world.fit import fit
from booth.world.pixels import to_unit
from booth.world.tokenizer import LENGTH
from booth.world.vocabulary import COLOURS

WIDTH = 256


def new_text_encoder(tokenizer: Any, width: int = WIDTH, layers: int = 4) -> CLIPTextModel:
    """A freshly initialised CLIP text model over `tokenizer`'s vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=3 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


@torch.no_grad()
def heed_rare_tokens(text: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Give each rare token the row of a random mixture of colours, so that the encoder heeds it as it does them.

    A row that no caption has trained hardly changes what a prompt is encoded as: "a sks dog" stays "a dog", and what
    is taught to the one is taught to the other. Real CLIP's rare tokens are words, which only few captions have.
    """
    rows = cast(nn.Embedding, text.get_input_embeddings()).weight
    colours = rows[tokenizer.convert_tokens_to_ids([f"{colour}</w>" for colour in COLOURS])].float()
    for i, token in enumerate(RARE_TOKENS):
        shares = torch.randn(len(colours), generator=torch.Generator().manual_seed(i + 1)).softmax(0)
        rows[tokenizer.convert_tokens_to_ids(f"{token}</w>")] = (shares @ colours).to(rows.dtype)


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ImageTower(nn.Module):
    """A small residual network: pictures (B, C, 64, 64) to features (B, dim), pooled over space."""

    def __init__(
        self, dim: int, in_channels: int = 3, widths: tuple[int, ...] = (48, 96, 192), blocks: int = 1
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=1)]
        for i, width in enumerate(widths):
            layers.append(nn.Conv2d(widths[max(0, i - 1)], width, 3, stride=2, padding=1))
            layers += [Residual(width) for _ in range(blocks)]
        self.features = nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.SiLU())  # (B, widths[-1], 4, 4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 16, dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(pixels))


class Contrastive(nn.Module):
    """A text encoder and an image tower that should agree on which caption belongs to which picture."""

    def __init__(self, text: CLIPTextModel, dim: int = 192) -> None:
        super().__init__()
        self.text = text
        self.image = ImageTower(dim)
        self.projection = nn.Linear(text.config.hidden_size, dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.6))  # log of the inverse temperature, CLIP's start

    def embed_text(self, ids: Tensor) -> Tensor:
        """Unit vectors (B, dim) from token ids (B, L): the hidden state at the end token."""
        return F.normalize(self.projection(self.text(ids).pooler_output).float(), dim=-1)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Unit vectors (B, dim) from pictures (B, 3, 64, 64) in [-1, 1]."""
        return F.normalize(self.image(pixels).float(), dim=-1)

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The symmetric InfoNCE loss and the share of pictures whose own caption wins in the batch."""
        logits = self.scale.exp().clamp(max=100) * self.embed_images(pixels) @ self.embed_text(ids).T
        labels = torch.arange(len(ids), device=ids.device)
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        return loss, (logits.argmax(1) == labels).float().mean()


def train_contrastive(
    name: str,
    tokenizer: Any,
    pictures: np.ndarray,
    captions: list[str],
    *,
    steps: int,
    out: Path,
    layers: int = 4,
    width: int = WIDTH,
    batch: int = 128,
    device: str = "cpu",
) -> Contrastive:
    """Train both towers on captioned pictures (uint8, N x 64 x 64 x 3)."""
    model = Contrastive(new_text_encoder(tokenizer, width, layers)).to(device)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        index = Rng(0, step).integers(name, len(pictures), batch).numpy()
        ids = tokenizer([captions[i] for i in index], padding="longest", truncation=True, return_tensors="pt").input_ids
        value, accuracy = model(to_unit(pictures[index]).to(device), ids.to(device))
        return value, {"loss": value.item(), "accuracy": accuracy.item()}

    fit(name, model, loss, steps=steps, out=out, learning_rate=1e-3, weight_decay=0.05, device=device)
    return model
