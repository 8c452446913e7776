"""One training of a classifier: every arm has as many steps, and the one that is kept is chosen by validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from booth.augment.classifiers import classifier, made
from booth.augment.distort import basic, cut_mix, rand_augment
from booth.augment.labelled_set import Picture
from booth.core.rng import derived_seed
from booth.data.decoding import decode, read_bytes

How = Literal["real", "class weights", "oversampling", "randaugment", "cutmix"]
KEPT = 20_000  # decoded pictures held in memory
WARM_UP = 0.1  # of the steps, in which the rate rises; it falls along a cosine afterwards
DECAY = 0.02
BATCH = 64  # of pictures that are looked at, not learned from


@dataclass(frozen=True)
class Schedule:
    """How long and in what size a classifier is trained; the same for every arm."""

    steps: int = 300
    batch: int = 16
    side: int = 64
    looks: int = 5  # times that the validation side is looked at; the best step is kept


@dataclass(frozen=True)
class Rows:
    """Files and the numbers of their classes."""

    files: tuple[Path, ...]
    classes: tuple[int, ...]

    def pixels(self, side: int) -> np.ndarray:
        """(N, side, side, 3) uint8."""
        if not self.files:
            return np.zeros((0, side, side, 3), np.uint8)
        return np.stack([_small(file, side) for file in self.files])


@lru_cache(maxsize=KEPT)
def _small(file: Path, side: int) -> np.ndarray:
    """The centre square of a picture."""
    image = decode(read_bytes(file))
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    box = (left, top, left + edge, top + edge)
    return np.asarray(
        image.resize((side, side), Image.Resampling.BOX if edge >= 2 * side else Image.Resampling.BICUBIC, box)
    )


@dataclass(frozen=True)
class Fitted:
    """A trained classifier at its best step."""

    net: nn.Module
    step: int
    validation: float  # balanced accuracy there
    probabilities: np.ndarray  # (N, C) of the validation side


def fit(
    name: str, train: Rows, extra: Rows, validation: Rows, classes: int, how: How, schedule: Schedule, seed: int
) -> Fitted:
    """Train on real rows and extra ones; with extra rows classes come equally often, as in "oversampling".

    So what extra pictures add is told apart from what balance adds.
    """
    net = made(name, classes, derived_seed(seed, "weights"))
    pixels = np.concatenate([train.pixels(schedule.side), extra.pixels(schedule.side)])
    targets = np.array([*train.classes, *extra.classes])
    shown = validation.pixels(schedule.side)
    optimizer = torch.optim.AdamW(net.parameters(), lr=classifier(name).rate, weight_decay=DECAY)
    weights = _weights(targets, classes) if how == "class weights" else None
    best: tuple[float, int, dict[str, torch.Tensor], np.ndarray] | None = None
    due = {round(schedule.steps * (i + 1) / schedule.looks) for i in range(schedule.looks)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "dropout"))
        for step in range(1, schedule.steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = classifier(name).rate * _rate(step, schedule.steps)
            rng = np.random.default_rng([seed, step])
            batch, wanted = _batch(pixels, targets, classes, how, bool(extra.files), schedule.batch, rng)
            net.train()
            loss = F.cross_entropy(net(_tensor(batch)), torch.from_numpy(wanted).float(), weight=weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step in due:
                found = probabilities(net, shown)
                value = balanced_accuracy(found.argmax(1), np.array(validation.classes), classes)
                if best is None or value > best[0]:
                    best = (value, step, {k: v.clone() for k, v in net.state_dict().items()}, found)
    assert best is not None
    net.load_state_dict(best[2])
    return Fitted(net.eval(), best[1], best[0], best[3])


def _batch(
    pixels: np.ndarray, targets: np.ndarray, classes: int, how: How, extra: bool, size: int, rng: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (B, H, W, 3) and targets (B, C)."""
    if how == "oversampling" or extra:
        there = np.unique(targets)
        rows = np.array([rng.choice(np.flatnonzero(targets == c)) for c in rng.choice(there, size)])
    else:
        rows = rng.integers(0, len(pixels), size)
    batch = np.stack([basic(p, rng) for p in pixels[rows]])
    wanted = np.eye(classes)[targets[rows]]
    if how == "randaugment":
        batch = np.stack([rand_augment(p, rng) for p in batch])
    if how == "cutmix":
        batch, wanted = cut_mix(batch, wanted, rng)
    return batch, wanted


def _rate(step: int, steps: int) -> float:
    warm = max(1.0, WARM_UP * steps)
    return step / warm if step < warm else 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1.0, steps - warm)))


def _weights(targets: np.ndarray, classes: int) -> torch.Tensor:
    """Each class as heavy as the others: the inverse of its share, 1 on average over the pictures."""
    counts = np.bincount(targets, minlength=classes).clip(min=1)
    return torch.from_numpy(len(targets) / (classes * counts)).float()


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def probabilities(net: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """(N, C) float64."""
    net.eval()
    parts = [net(_tensor(pixels[i : i + BATCH])).double().softmax(1).numpy() for i in range(0, len(pixels), BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def balanced_accuracy(found: np.ndarray, wanted: np.ndarray, classes: int) -> float:
    """The mean recall of the classes that there are; NaN for no pictures."""
    recalls = [float((found[wanted == c] == c).mean()) for c in range(classes) if (wanted == c).any()]
    return float(np.mean(recalls)) if recalls else float("nan")


def rows_of(pictures: Sequence[Picture], labels: Sequence[str]) -> Rows:
    """Real pictures as rows."""
    return Rows(tuple(p.path for p in pictures), tuple(labels.index(p.label) for p in pictures))
