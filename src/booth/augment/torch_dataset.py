"""Real and drawn pictures as a torch Dataset that is the same for an index whatever worker reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from booth.augment.derived_set import REAL
from booth.augment.labelled_set import TRAIN
from booth.augment.provenance import FILE, read_rows
from booth.core.errors import BadDataError, UsageError
from booth.data.decoding import decode, read_bytes


class AugmentedDataset(Dataset[tuple[Any, int]]):
    """The training side of a set that `booth augment` wrote: (picture, class) pairs, as torchvision's ImageFolder has.

    Item i is real picture i or, with probability `p_synthetic` where its class has drawn ones, one of those. Which one
    is decided by seed, epoch and i alone; call `set_epoch` for other ones. `transform` is given the RGB picture: one of
    torchvision's, or `lambda image: albumentations(image=numpy.asarray(image))["image"]`. Only the folder is read, and
    nothing is drawn. Raises UsageError for a share outside [0, 1], BadDataError for another folder.
    """

    def __init__(
        self,
        folder: Path | str,
        p_synthetic: float = 0.5,
        *,
        transform: Callable[[Image.Image], object] | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= p_synthetic <= 1:
            raise UsageError(
                f"p_synthetic is a share from 0 to 1, and {p_synthetic} is none.",
                code="share.out_of_range",
                field="p_synthetic",
            )
        self.folder, self.p_synthetic, self.transform, self.seed, self.epoch = (
            Path(folder),
            p_synthetic,
            transform,
            seed,
            0,
        )
        if not (self.folder / REAL).is_file():
            raise BadDataError(
                f"{folder} holds no set that `booth augment` finished: it has no {REAL}.",
                code="augment.no_set",
                field="folder",
            )
        rows = read_rows(self.folder / REAL)
        self.classes = sorted({row["label"] for row in rows})
        self.class_to_idx = {label: i for i, label in enumerate(self.classes)}
        learned = [row for row in rows if row["split"] in ("", TRAIN)]
        self.real = [(self.folder / row["file"], self.class_to_idx[row["label"]]) for row in learned]
        self.synthetic: dict[int, list[Path]] = {}
        for row in read_rows(self.folder / FILE):
            self.synthetic.setdefault(self.class_to_idx[row["label"]], []).append(self.folder / row["file"])

    def set_epoch(self, epoch: int) -> None:
        """Let another epoch show other drawn pictures."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.real)

    def path(self, index: int) -> tuple[Path, int]:
        """The file and class of an item."""
        index = range(len(self.real))[index]  # negative ones too
        real, label = self.real[index]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        drawn = self.synthetic.get(label)
        if drawn and rng.random() < self.p_synthetic:
            return drawn[int(rng.integers(len(drawn)))], label
        return real, label

    def __getitem__(self, index: int) -> tuple[Any, int]:
        file, label = self.path(index)
        picture = decode(read_bytes(file))
        return (self.transform(picture) if self.transform else picture), label
