"""A classifier fitted to parts of the training side: it tells weak classes, and judges what it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import nn

from booth.augment.classifiers import made
from booth.augment.fit import Rows, Schedule, fit, probabilities, rows_of
from booth.augment.labelled_set import LabelledSet
from booth.augment.splits import cross_parts
from booth.augment.state import digest, read_json, write_json
from booth.core.alone import alone_at
from booth.core.commit import committed_file
from booth.core.rng import derived_seed

PARTS = 3
RESULT = "crossfit.json"


@dataclass(frozen=True)
class CrossFit:
    """What the parts' classifiers say; each speaks only of groups that it has not seen."""

    labels: tuple[str, ...]
    recall: dict[str, float]  # of each class, out of part
    nets: tuple[nn.Module, ...]
    held_out: tuple[frozenset[str], ...]  # the groups that each has not seen
    side: int
    key: str  # what tells it apart from one that was fitted otherwise

    @property
    def weakest(self) -> list[str]:
        """The classes whose recall is below the mean, the weakest first."""
        mean = float(np.mean(list(self.recall.values())))
        weak = [label for label in self.labels if self.recall[label] < mean]
        return sorted(weak, key=lambda label: self.recall[label]) or [min(self.labels, key=lambda x: self.recall[x])]

    def agrees(self, files: Sequence[Path], label: str, sources: Sequence[str | None]) -> list[float]:
        """How probable the label is of each picture, asked of classifiers that know no picture of its group."""
        pixels = Rows(tuple(files), (0,) * len(files)).pixels(self.side)
        said = np.stack([probabilities(net, pixels) for net in self.nets])  # (parts, N, C)
        place, found = self.labels.index(label), list[float]()
        for i, source in enumerate(sources):
            asked = [k for k, unseen in enumerate(self.held_out) if source is None or source in unseen]
            mean = said[asked or list(range(len(self.nets))), i].mean(0)
            found.append(round(float(mean[place]) if mean.argmax() == place else 0.0, 5))
        return found


def cross_fit(training: LabelledSet, name: str, schedule: Schedule, seed: int, folder: Path) -> CrossFit:
    """Fit a classifier to each part's complement, or read what was fitted to the same before."""
    config = {
        "classifier": name, "steps": schedule.steps, "batch": schedule.batch, "side": schedule.side, "seed": seed,
        "pictures": sorted(p.sha256 for p in training.pictures),
    }  # fmt: skip
    with alone_at(folder):
        known = read_json(folder / RESULT)
        if known is None or known["config"] != config:
            known = {"config": config, **_fitted(training, name, schedule, seed, folder)}
            write_json(folder / RESULT, known)
    nets: list[nn.Module] = []
    for k in range(len(known["held_out"])):
        net = made(name, len(training.labels), 0)
        net.load_state_dict(load_file(folder / f"{k}.safetensors"))
        nets.append(net.eval())
    held_out = tuple(frozenset(groups) for groups in known["held_out"])
    return CrossFit(training.labels, known["recall"], tuple(nets), held_out, schedule.side, digest(config))


def _fitted(training: LabelledSet, name: str, schedule: Schedule, seed: int, folder: Path) -> dict[str, Any]:
    labels, right, held_out = training.labels, dict.fromkeys(training.labels, 0), list[list[str]]()
    for k, (train, rest) in enumerate(cross_parts(training, PARTS, seed)):
        rows, asked = rows_of(train.pictures, labels), rows_of(rest.pictures, labels)
        # No step is chosen on the part that is asked: the last one is kept.
        once = Schedule(schedule.steps, schedule.batch, schedule.side, looks=1)
        fitted = fit(name, rows, Rows((), ()), asked, len(labels), "oversampling", once, derived_seed(seed, "part", k))
        said = fitted.probabilities.argmax(1)
        for place, wanted in zip(said.tolist(), asked.classes, strict=True):
            right[labels[wanted]] += place == wanted
        folder.mkdir(parents=True, exist_ok=True)
        with committed_file(folder / f"{k}.safetensors") as work:
            save_file({key: value.contiguous() for key, value in fitted.net.state_dict().items()}, work)
        held_out.append(sorted(rest.groups))
    return {"recall": {x: round(right[x] / training.counts[x], 4) for x in labels}, "held_out": held_out}
