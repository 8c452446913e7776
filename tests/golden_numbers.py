"""Losses and a parameter checksum per method on the toy base: a refactor must leave them as they are.

`python tests/golden_numbers.py` writes them anew. Do that only when a change is meant to change the numbers, and say in
the commit why.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from booth.families.loading import load_family
from booth.registry import METHODS
from booth.testing.toy import write_toy_base
from harness import attach, freeze, make_method, steps

FOLDER = Path(__file__).parent / "golden"
STEPS = 6
# All that is likely to be tuned is fixed here, so that tuning a default changes no number.
SETTINGS: dict[str, Any] = {"steps": STEPS, "schedule": "linear", "warmup": 2, "learning_rate": 1e-3}
OWN: dict[str, dict[str, Any]] = {
    "textual_inversion": {"vectors": 1, "keep_norm": True},
    "lora": {"rank": 16, "alpha": None, "targets": ("attention", "feed_forward")},
    "locon": {"rank": 16, "alpha": None, "conv_rank": 8},
    "dora": {"rank": 16, "alpha": None, "targets": ("attention", "feed_forward")},
    "rslora": {"rank": 16, "alpha": 8.0, "targets": ("attention", "feed_forward")},
    "loha": {"rank": 8, "alpha": None, "targets": ("attention", "feed_forward")},
    "lokr": {"rank": 4, "alpha": None, "factor": -1, "targets": ("attention", "feed_forward")},
    "oft": {"block_size": 8, "targets": ("attention", "feed_forward")},
    "boft": {"block_size": 4, "factors": 2, "targets": ("attention", "feed_forward")},
    "ia3": {"targets": ("attention", "feed_forward")},
    "vera": {"rank": 16, "targets": ("attention", "feed_forward")},
    "t_lora": {"rank": 8, "min_rank": 4, "targets": ("attention",)},
    "hypernetwork": {
        "layer_structure": (1, 2, 1),
        "activation": "relu",
        "activate_output": False,
        "layer_norm": False,
        "dropout": 0.0,
        "initialisation": "identity",
    },
    "custom_diffusion": {"token_learning_rate": 1e-2, "vectors": 1, "keep_norm": True},
    "ti_lora": {"token_learning_rate": 1e-2, "vectors": 1, "keep_norm": True, "rank": 16, "alpha": None},
    "pivotal_tuning": {
        "token_steps": STEPS,
        "token_learning_rate": 1e-2,
        "moving_learning_rate": 1e-3,
        "token": "moving",
        "vectors": 1,
        "keep_norm": True,
        "rank": 16,
        "alpha": None,
    },
    "two_stage": {"token_steps": STEPS, "token_learning_rate": 1e-2, "vectors": 1, "keep_norm": True, "second": "full"},
}


def compute(base: Path, name: str) -> dict[str, Any]:
    """The losses of each stage's steps; the size, and the length of the way, of what it trained."""
    model, stages = load_family(str(base)), {}
    for stage in make_method(name, **SETTINGS, **OWN.get(name, {})).plan():
        update = attach(model, stage)
        start = {n: p.detach().double().clone() for n, p in update.parameters().items()}
        done = steps(model, update, 0, STEPS)
        end = {n: p.detach().double() for n, p in update.parameters().items()}
        stages[stage.name] = {
            "losses": [s.loss for s in done],
            "gradient_norms": [s.gradient_norm for s in done],
            "parameters": sum(p.numel() for p in end.values()),
            "size": sum(float(p.abs().sum()) for p in end.values()),
            "moved": sum(float((end[n] - start[n]).square().sum()) for n in end) ** 0.5,
        }
        freeze(update.groups)
    return stages


def file_of(name: str) -> Path:
    """Where a method's numbers are kept."""
    return FOLDER / f"{name}.json"


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = write_toy_base(Path(folder) / "toy")
        for name in METHODS:
            file_of(name).write_text(json.dumps(compute(base, name), indent=2) + "\n")
            print(f"wrote {file_of(name)}")


if __name__ == "__main__":
    main()
