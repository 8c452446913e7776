"""How much of a training step is spent inside the model's forward and backward, for each method on the embedded base.

python benchmarks/step_share.py --out results/step_share.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from booth.core.method import Subject
from booth.data.batches import PhotoBatches, TrainingSubject
from booth.data.photos import load_photos
from booth.families.loading import load_family
from booth.registry import METHODS
from booth.train.loop import training_steps
from booth.train.update import Update
from booth.world.demo import NOUN, photos


class Stopwatch:
    """Adds up the seconds spent in wrapped calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, call: Any) -> Any:
        """A version of `call` whose time is counted."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def measure(name: str, base: str, steps: int) -> dict[str, float | str]:
    """Steps of the method's last stage, the first ones left out as warm-up."""
    model = load_family(base)
    subject = Subject("sks", NOUN)
    method = METHODS[name](METHODS[name].Config(**METHODS[name].defaults(model.scale)), subject)
    stages = method.plan()
    for stage in stages:
        groups = stage.method.attach(model, seed=0)
        if stage is not stages[-1]:
            for group in groups:
                for parameter in group.parameters.values():
                    parameter.requires_grad_(False)
    last = stages[-1].method
    model.remember_embeddings(not model.trainable_in("text_encoder"))
    config = last.config
    pictures = [Image.new("RGB", (64, 64), "gray")] * 8 if config.prior_weight else []
    batches = PhotoBatches(
        model,
        [TrainingSubject(subject, load_photos([photos()]), last.prompts(), f"a photo of a {NOUN}", pictures)],
        batch_size=config.batch_size,
        prior_weight=config.prior_weight,
    )
    update = Update(groups, config, last.constrain)
    inside = Stopwatch()
    model.embed, model.predict = inside.around(model.embed), inside.around(model.predict)
    update.backward = inside.around(update.backward)
    total = 0.0
    for step in training_steps(model, batches, update, seed=0, start=0, stop=steps + 5):
        if step.index == 5:
            inside.seconds = 0.0
        elif step.index > 5:
            total += step.seconds
    return {
        "method": name,
        "milliseconds_per_step": round(1000 * total / steps, 2),
        "share_in_model": round(inside.seconds / total, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = [measure(name, options.base, options.steps) for name in METHODS if METHODS[name].needs_subject]
    result = {"threads": torch.get_num_threads(), "torch": torch.__version__, "steps": options.steps, "rows": rows}
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
