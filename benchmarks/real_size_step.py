"""LoRA steps at a published base's full size with random weights: batch 1, seconds and peak memory.

    python benchmarks/real_size_step.py --steps 3 --out results/real_size_step.json
    python benchmarks/real_size_step.py --base stable-diffusion-xl-base-1.0 --bf16 --checkpointing --steps 2 --out ...

Nothing is downloaded: only the configuration is the base's.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from booth.bench.shapes import PUBLISHED, random_base
from booth.core.batch import Batch
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.registry import METHODS
from booth.train.loop import training_steps
from booth.train.update import Update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=list(PUBLISHED), default="stable-diffusion-v1-5")
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="base and arithmetic in bfloat16, as on a GPU")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = torch.bfloat16 if options.bf16 or device == "cuda" else None
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = random_base(options.base, Path(folder), device, precision or torch.float32)
    made = time.perf_counter() - began
    method_class = METHODS["lora"]
    config = method_class.Config(steps=options.steps, gradient_checkpointing=options.checkpointing)
    method = method_class(config, Subject("sks", "dog"))
    groups = method.attach(model, seed=0)
    model.recompute_activations(options.checkpointing)
    model.remember_embeddings(True)
    picture = torch.rand(1, 3, options.size, options.size) * 2 - 1
    posterior = model.encode(picture.to(device))

    def batches(rng: Rng) -> Batch:
        latents = posterior.sample(rng.normal("posterior", posterior.mean))
        return Batch(["a photo of sks dog"], latents, torch.ones(1, device=latents.device))

    update = Update(groups, config)
    steps = training_steps(model, batches, update, seed=0, start=0, stop=options.steps, autocast=precision)
    seconds = [step.seconds for step in steps]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    result = {
        "what": f"LoRA step at the full size of {options.base}, random weights, {options.size}x{options.size}, batch 1",
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "precision": str(precision or torch.float32),
        "gradient_checkpointing": options.checkpointing,
        "seconds_to_make": round(made, 1),
        "seconds_per_step": [round(s, 2) for s in seconds],
        "peak_memory_bytes": peak,
        "trainable_parameters": sum(p.numel() for g in groups for p in g.parameters.values()),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
