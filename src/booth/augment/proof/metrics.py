"""What a classifier is worth, by scikit-learn and torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from booth.augment.proof.statistics import Said
from booth.augment.splits import missing_extra
from booth.core.json_values import Json

SPECIFICITY = 0.9  # at which the recall of each scarce class is told


def measured(said: Said, labels: Sequence[str], scarce: Sequence[str]) -> dict[str, Json]:
    """Every number of an arm, averaged over training seeds."""
    rows = [_of_seed(said.probabilities[s], said.wanted, labels, scarce) for s in range(len(said.probabilities))]
    numbers = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}
    spread = float(np.std([row["balanced_accuracy"] for row in rows]))
    return numbers | {"seeds": len(rows), "deviation_over_seeds": round(spread, 4)}


def _of_seed(said: np.ndarray, wanted: np.ndarray, labels: Sequence[str], scarce: Sequence[str]) -> dict[str, float]:
    try:
        import torch
        from sklearn import metrics as sklearn_metrics
        from torchmetrics.functional.classification import multiclass_calibration_error
    except ImportError as error:
        raise missing_extra() from error
    metrics: Any = sklearn_metrics  # its annotations know fewer values than its functions take
    called, classes = said.argmax(1), list(range(len(labels)))
    each = metrics.recall_score(wanted, called, labels=classes, average=None, zero_division=0)
    error = multiclass_calibration_error(torch.from_numpy(said), torch.from_numpy(wanted), len(labels), n_bins=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        area = _area(metrics, said, wanted, classes)
    found = {
        "balanced_accuracy": float(metrics.balanced_accuracy_score(wanted, called)),
        "macro_recall": float(np.mean(each)),
        "macro_f1": float(metrics.f1_score(wanted, called, labels=classes, average="macro", zero_division=0)),
        "accuracy": float(metrics.accuracy_score(wanted, called)),
        "auc": area,
        "calibration_error": float(error),
    }
    found |= {f"recall {label}": float(value) for label, value in zip(labels, each, strict=True)}
    for label in scarce:
        place = list(labels).index(label)
        false, true, _ = metrics.roc_curve(wanted == place, said[:, place])
        found[f"recall {label} at specificity {SPECIFICITY:g}"] = float(true[false <= 1 - SPECIFICITY].max(initial=0.0))
    return found


def _area(metrics: Any, said: np.ndarray, wanted: np.ndarray, classes: list[int]) -> float:
    if len(classes) == 2:
        return float(metrics.roc_auc_score(wanted, said[:, 1]))
    return float(metrics.roc_auc_score(wanted, said, labels=classes, multi_class="ovr", average="macro"))
