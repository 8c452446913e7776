"""The judges of the world: networks that say what is in a picture. They share no weights with the generator.

Three separate networks: factors (object, scene, colour, accessory), identity (is this the same individual?), and
agreement (an image-text encoder of CLIP's kind, with a text encoder of its own). They are tested on renders that they
have not seen, and their error is reported beside every number that they yield.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from booth.world.pixels import to_unit
from booth.world.text_encoder import Contrastive, ImageTower, new_text_encoder
from booth.world.tokenizer import LENGTH
from booth.world.vocabulary import ACCESSORIES, COLOURS, NOUNS, SCENES

FOLDER = Path(__file__).parent.parent / "assets" / "judges"
NOUN_NAMES, SCENE_NAMES = tuple(NOUNS), tuple(SCENES)
COLOUR_NAMES, ACCESSORY_NAMES = ("none", *COLOURS), ("none", *ACCESSORIES)
IDENTITY_WIDTH = 128
SIDE = 64  # pixels of the pictures that the judges look at
STEP = "/step"  # after a weight's name: what its whole numbers are multiples of
# Where the factor judge looks from: a little to the side, and at the mirrored picture. No factor depends on either.
GLANCES = ((0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2))

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Labels:
    """What each output of a factor judge stands for: the vocabulary of the world that it learned from, in its order."""

    nouns: tuple[str, ...] = NOUN_NAMES
    scenes: tuple[str, ...] = SCENE_NAMES
    colours: tuple[str, ...] = COLOUR_NAMES
    accessories: tuple[str, ...] = ACCESSORY_NAMES

    @classmethod
    def read(cls, folder: Path) -> Labels:
        """The labels kept beside judges; those of the present world where there are none."""
        file = folder / "labels.json"
        if not file.is_file():
            return cls()
        return cls(**{name: tuple(values) for name, values in json.loads(file.read_text(encoding="utf-8")).items()})

    def write(self, folder: Path) -> None:
        """Keep them beside the judges."""
        (folder / "labels.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many there are of each."""
        return len(self.nouns), len(self.scenes), len(self.colours), len(self.accessories)


class FactorJudge(nn.Module):
    """Which objects, scene, colour and accessory are in a picture (B, 3, 64, 64)."""

    def __init__(self, labels: Labels | None = None) -> None:
        super().__init__()
        self.sizes = (labels or Labels()).sizes
        self.tower = ImageTower(sum(self.sizes), widths=(48, 96, 192), blocks=2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits: object presence (B, nouns), scene (B, scenes), colour and accessory, both with "none" first."""
        objects, scene, colour, accessory = self.tower(pixels).float().split(self.sizes, dim=1)
        return objects, scene, colour, accessory


class IdentityJudge(nn.Module):
    """Unit vectors (B, 128) that are close for the same individual in another pose and scene."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = ImageTower(IDENTITY_WIDTH, widths=(48, 96, 192))
        self.scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.tower(pixels).float(), dim=-1)


@dataclass(frozen=True)
class Verdict:
    """What the factor judge saw in one picture."""

    objects: tuple[str, ...]  # by falling probability, at least one
    scene: str
    colour: str  # "none" when it is no captioned colour
    accessory: str
    empty: bool = False  # whether no object is likely enough


class Judges:
    """All judges with their measured errors, loaded from the package or from a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        from transformers import CLIPTokenizer

        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        self.errors: dict[str, float] = json.loads((folder / "judges.json").read_text())
        self.labels = Labels.read(folder)
        self.factors = read_judge(FactorJudge(self.labels), folder / "factors.safetensors")
        self.identity = read_judge(IdentityJudge(), folder / "identity.safetensors")
        text = new_text_encoder(self.tokenizer, layers=2)
        self.agreement = read_judge(Contrastive(text), folder / "agreement.safetensors")

    @torch.no_grad()
    def look(self, images: np.ndarray) -> list[Verdict]:
        """Judge the factors of uint8 pictures (N, 64, 64, 3); an object is named when it is likelier than not."""
        verdicts: list[Verdict] = []
        for i in range(0, len(images), 128):
            objects, *others = self._glances(to_unit(images[i : i + 128]))
            for o, s, c, a in zip(objects.sigmoid(), *(x.argmax(1) for x in others), strict=True):
                order = o.argsort(descending=True).tolist()
                known = self.labels
                named = tuple(known.nouns[j] for j in order if o[j] > 0.5) or (known.nouns[order[0]],)
                empty = bool(o.max() <= self.presence_threshold)
                verdicts.append(Verdict(named, known.scenes[s], known.colours[c], known.accessories[a], empty))
        return verdicts

    @torch.no_grad()
    def presence(self, images: np.ndarray) -> Tensor:
        """Probability (N,) of the likeliest object in each uint8 picture."""
        parts = [self._glances(to_unit(images[i : i + 128]))[0] for i in range(0, len(images), 128)]
        return torch.cat(parts).sigmoid().amax(1)

    @property
    def presence_threshold(self) -> float:
        """Probability of its likeliest object up to which a scene is empty: equal error rate on unseen renders."""
        return self.errors.get("presence_threshold", 0.5)

    def _glances(self, pixels: Tensor) -> list[Tensor]:
        """The factor judge's logits, their mean over every glance at the pictures and at their mirror images."""
        edge = max(map(max, GLANCES))
        padded = F.pad(pixels, (edge,) * 4, mode="replicate")
        seen: list[tuple[Tensor, ...]] = []
        for down, right in GLANCES:
            moved = padded[..., edge + down : edge + down + SIDE, edge + right : edge + right + SIDE]
            seen += [self.factors(moved), self.factors(moved.flip(-1))]
        return [torch.stack(logits).mean(0) for logits in zip(*seen, strict=True)]

    @torch.no_grad()
    def identities(self, images: np.ndarray) -> Tensor:
        """Identity vectors (N, 128) of uint8 pictures."""
        return torch.cat([self.identity(to_unit(images[i : i + 128])) for i in range(0, len(images), 128)])

    @property
    def same_threshold(self) -> float:
        """Cosine above which two pictures show the same individual: equal error rate on unseen identities."""
        return self.errors["identity_threshold"]

    @torch.no_grad()
    def agree(self, images: np.ndarray, prompts: list[str]) -> Tensor:
        """Cosine (N,) between each picture and its prompt; never to be called CLIP in a report."""
        tokens = self.tokenizer(prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
        parts = [self.agreement.embed_images(to_unit(images[i : i + 128])) for i in range(0, len(images), 128)]
        return (torch.cat(parts) * self.agreement.embed_text(tokens.input_ids)).sum(1)


def read_judge(module: Network, file: Path) -> Network:
    """Fill a judge with what `save_judge` kept of it, or with plain weights, and freeze it."""
    stored = load_file(file)
    weights = {
        name: value.float() * stored.get(name + STEP, torch.ones(()))
        for name, value in stored.items()
        if not name.endswith(STEP)
    }
    module.load_state_dict(weights)
    module.eval().requires_grad_(False)
    return module


def save_judge(module: nn.Module, file: Path) -> None:
    """Write one judge: matrices and kernels as whole numbers of a step of their own for each output, others in half."""
    file.parent.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Tensor] = {}
    for name, laid_out in module.state_dict().items():
        value = laid_out.contiguous()  # a network may have been trained with its channels last
        if value.ndim < 2:
            stored[name] = value.half()
            continue
        step = value.float().flatten(1).abs().amax(1).clamp(min=1e-12).reshape(-1, *[1] * (value.ndim - 1)) / 127
        stored[name], stored[name + STEP] = (value / step).round().to(torch.int8), step
    save_file(stored, file)
