"""What a GPU says of what is asked of it: docs/decisions/gpu.md. Ten minutes, and nothing is downloaded.

    python scripts/try_gpu.py --out results/bench

Prints how often the host waits within a step, which frozen weights a step casts, whether half precision draws the
picture of float32, and what `booth bench` measures of published shapes; the last is kept in --out.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from booth.bench.measure import bench
from booth.bench.report import about, line, rows, save
from booth.bench.shapes import PUBLISHED, random_base
from booth.cli.output import table
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.precision import DTYPES, choose_precision
from booth.families.loading import load_family
from booth.families.quiet import hush
from booth.generate.draw import draw
from booth.registry import METHODS
from booth.testing.methods import Casts
from booth.testing.steps import tensors
from booth.train.estimate import Stand
from booth.train.loop import training_steps
from booth.train.plan_state import PlanState

TAUGHT = ("lora", "textual_inversion", "dreambooth")
STEPS = 4


def told_of_a_step(model: Family, name: str, dtype: torch.dtype) -> str:
    """How often the host waits in a step, beside the once that it reads the step before; and what is cast."""
    kind = METHODS[name]
    plan = kind(kind.Config.model_validate(kind.defaults(model.scale) | {"ema": 0.99}), Subject("sks", "dog")).plan()
    loaded = {n: t.detach() for n, t in tensors(model).items()}
    held = {t.untyped_storage().data_ptr(): n for n, t in loaded.items()}
    state = PlanState(model, plan, 0)
    try:
        update, batches = state.open(), Stand(model, plan[0])
        model.remember_embeddings(not plan[0].method.reads_prompts)
        how: dict[str, Any] = {"seed": 0, "autocast": dtype, "ahead": True}
        list(training_steps(model, batches, update, start=0, stop=2, **how))
        with warnings.catch_warnings(record=True) as waits, Casts(held) as casts:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            list(training_steps(model, batches, update, start=2, stop=2 + STEPS, **how))
            torch.cuda.set_sync_debug_mode("default")
    finally:
        state.detach()
    waited = sum("called a synchronizing" in str(each.message) for each in waits)
    return f"{name}: {waited / STEPS - (STEPS - 1) / STEPS:.2f} waits a step, {len(casts.found)} frozen weights cast"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here.", file=sys.stderr)
        return 69
    hush()
    half = DTYPES[choose_precision(None, "cuda")]
    pictures = [draw(load_family("embedded", "cuda", dtype), ["a dog"], [0])[0] for dtype in (torch.float32, half)]
    one, other = (np.asarray(picture, dtype=float) for picture in pictures)
    print(f"a picture in {half} differs from float32 by {np.abs(one - other).mean():.2f} of 255 in the mean")
    for name in PUBLISHED:
        with TemporaryDirectory() as folder:
            model = random_base(name, Path(folder), "cuda", half)
            for method in TAUGHT[:2]:
                print(f"{name}, {told_of_a_step(model, method, half)}", flush=True)
        del model
        torch.cuda.empty_cache()
        measured = bench(shape=name, methods=TAUGHT, device="cuda", settings={"prior_weight": 0.0})
        print("\n".join([*about(measured), "", *table(rows(measured)), "", line(measured)]), flush=True)
        save(measured, options.out)
    save(bench(device="cuda"), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
