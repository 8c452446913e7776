"""LoRA steps at Stable Diffusion 1.5's full size with random weights: 512x512, batch 1, seconds and peak memory.

    python benchmarks/real_size_step.py --steps 3 --out results/real_size_step.json

Nothing is downloaded: only the configuration is Stable Diffusion 1.5's. Writes 2 GB to a temporary folder.
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
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from booth.core.batch import Batch
from booth.core.method import Subject
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.registry import METHODS
from booth.train.loop import training_steps
from booth.train.update import Update
from booth.world.tokenizer import write_tokenizer


def write_random_sd15(folder: Path) -> None:
    """A folder with Stable Diffusion 1.5's shapes, random weights in half precision."""
    write_tokenizer(["a", "photo", "of", "sks", "dog"], folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=77)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    text = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    )
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        write_random_sd15(Path(folder) / "sd15")
        began = time.perf_counter()
        model = load_family(str(Path(folder) / "sd15"), device)
    loaded = time.perf_counter() - began
    method_class = METHODS["lora"]
    config = method_class.Config(steps=options.steps, gradient_checkpointing=options.checkpointing)
    method = method_class(config, Subject("sks", "dog"))
    groups = method.attach(model, seed=0)
    model.recompute_activations(options.checkpointing)
    model.remember_embeddings(True)
    posterior = model.encode(torch.rand(1, 3, 512, 512) * 2 - 1)

    def batches(rng: Rng) -> Batch:
        latents = posterior.sample(rng.normal("posterior", posterior.mean))
        return Batch(["a photo of sks dog"], latents, torch.ones(1, device=latents.device))

    update = Update(groups, config)
    precision = torch.bfloat16 if device == "cuda" else None
    steps = training_steps(model, batches, update, seed=0, start=0, stop=options.steps, autocast=precision)
    seconds = [step.seconds for step in steps]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    result = {
        "what": "LoRA step at Stable Diffusion 1.5's full size, random weights, 512x512, batch 1",
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "precision": str(precision or torch.float32),
        "gradient_checkpointing": options.checkpointing,
        "load_seconds": round(loaded, 1),
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
