"""Stable Diffusion 1.5 and XL by their published configurations, with random weights: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextConfig

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.families.files import INDEX
from booth.registry import FAMILIES, PIPELINES
from booth.world.tokenizer import write_tokenizer

# config.json of each component in stable-diffusion-v1-5/stable-diffusion-v1-5 and stabilityai/stable-diffusion-xl-
# base-1.0, less what is diffusers' and transformers' default. A CLIPTextConfig is by default ViT-L/14's text half
# in all but its sizes.
AUTOENCODER: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "vocab_size": 49_408,
}
CLIP_BIG_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "vocab_size": 49_408,
    "hidden_act": "gelu",
}
SD15: dict[str, dict[str, Any]] = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "text_encoder": CLIP_L,
    "vae": AUTOENCODER,
}
SDXL: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 128,
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "text_encoder": CLIP_L,
    "text_encoder_2": CLIP_BIG_G,
    "vae": AUTOENCODER | {"sample_size": 1024, "scaling_factor": 0.13025},
}
PUBLISHED = {
    "stable-diffusion-v1-5": ("StableDiffusionPipeline", SD15),
    "stable-diffusion-xl-base-1.0": ("StableDiffusionXLPipeline", SDXL),
}
SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "steps_offset": 1,
}


def random_base(name: str, folder: Path, device: str, dtype: torch.dtype) -> Family:
    """A published base with random weights in `dtype` on `device`; `folder` receives its small files.

    UsageError for a name that is none of PUBLISHED.
    """
    if name not in PUBLISHED:
        raise UsageError(
            f"The shape of {name!r} is not known.",
            f"There are: {', '.join(PUBLISHED)}.",
            code="bench.unknown_shape",
            field="shape",
        )
    pipeline, configs = PUBLISHED[name]
    kind: Any = FAMILIES[PIPELINES[pipeline]]

    class Random(kind):
        def _load(self, name: str) -> Any:
            return self._read(self.base, name, torch.float32 if name == "vae" else dtype)

        def _read(self, folder: Path, name: str, dtype: torch.dtype) -> Any:
            former = torch.get_default_dtype()
            torch.set_default_dtype(dtype)
            try:
                return made_by(self._kinds[name], configs[name]).to(device)
            finally:
                torch.set_default_dtype(former)

    write_small_files(kind, configs, folder)
    return Random(folder, device, dtype)


def made_by(kind: Any, config: dict[str, Any]) -> Any:
    """A part of that class by its configuration, with the numbers that it begins with."""
    return kind.from_config(config) if hasattr(kind, "from_config") else kind(CLIPTextConfig(**config))


def write_small_files(kind: Any, configs: dict[str, Any], folder: Path) -> None:
    """What a family reads beside weights: index, scheduler and tokenizers."""
    (folder / "scheduler").mkdir(parents=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULE))
    for encoder in kind.encoders:
        write_tokenizer(["dog"], folder / encoder.replace("text_encoder", "tokenizer"))
    (folder / INDEX).write_text(json.dumps({part: ["", ""] for part in configs}))
