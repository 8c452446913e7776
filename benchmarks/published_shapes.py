"""Stable Diffusion 1.5 and XL by their published configurations: every shape, and no weights or random ones.

What stands on torch's meta device has a shape and takes no memory. The token tables alone are real, in zeros, because
methods read numbers from them; their 152 and 405 MB are mapped and hardly touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import CLIPTextConfig

from booth.core.family import Family
from booth.families.layout import INDEX
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


@dataclass(frozen=True)
class Figure:
    """What others published of a file that a method would write."""

    what: str
    published: float
    unit: Literal["values", "fp32", "fp16"]  # a count, or bytes in that precision
    base: str
    method: str
    source: str
    settings: dict[str, Any] = field(default_factory=dict)


HUB = "https://huggingface.co"
SD15_NAME, SDXL_NAME = PUBLISHED
SDXL_UNET = f"[its file]({HUB}/stabilityai/stable-diffusion-xl-base-1.0/tree/main/unet)"
SCRIPT = "written by diffusers' script"
LORA_FILE = f"[a pickle]({HUB}/pulkitnitk/dog/tree/a1eb00bad6c9835ce59ce65c3dc336fadf0f5752) {SCRIPT}"
TOKEN_FILE = f"[a pickle]({HUB}/anic87/textual_inversion/tree/7acaa61215f6823b7d3f7828c5b9853ce72aa0a3) {SCRIPT}"
COUNTED = "diffusers' documentation of `ModelMixin.num_parameters`"
CANNY = f"[a file of its author]({HUB}/lllyasviel/fav_models/blob/main/fav/control_v11p_sd15_canny_fp16.safetensors)"
AUTHORS = "[its authors](https://github.com/adobe-research/custom-diffusion)"
OWN = "[attached to weights of that size](../../results/real_size_step.json)"
RANK_4 = {"rank": 4, "targets": ["attention"]}
FIGURES = (
    Figure("SD 1.5, U-Net", 859_520_964, "values", SD15_NAME, "dreambooth", COUNTED),
    Figure("SDXL, U-Net in fp32", 10.3e9, "fp32", SDXL_NAME, "dreambooth", SDXL_UNET),
    Figure("SDXL, U-Net in fp16", 5.14e9, "fp16", SDXL_NAME, "dreambooth", SDXL_UNET),
    Figure("SD 1.5, ControlNet in fp16", 722_601_100, "fp16", SD15_NAME, "controlnet", CANNY),
    Figure("SD 1.5, Custom Diffusion", 75e6, "fp32", SD15_NAME, "custom_diffusion", AUTHORS),
    Figure("SD 1.5, LoRA of rank 4 on attention", 3_287_771, "fp32", SD15_NAME, "lora", LORA_FILE, RANK_4),
    Figure("SD 1.5, Textual Inversion of one vector", 3820, "fp32", SD15_NAME, "textual_inversion", TOKEN_FILE),
    Figure("SD 1.5, LoRA at its defaults", 5_984_256, "values", SD15_NAME, "lora", OWN),
)


def shapes_of(name: str, folder: Path) -> Family:
    """A published base with all its sites and no weights; `folder` receives the small files that a family reads."""
    pipeline, configs = PUBLISHED[name]
    kind: Any = FAMILIES[PIPELINES[pipeline]]

    class Shapes(kind):
        def _load(self, name: str) -> Any:
            return self._read(self.base, name, torch.float32)

        def _read(self, folder: Path, name: str, dtype: torch.dtype) -> Any:
            with torch.device("meta"):
                made = _made(self._kinds[name], configs[name])
            if name in self.encoders:
                table = made.get_input_embeddings()
                table.weight = torch.nn.Parameter(torch.zeros(table.weight.shape, device="cpu"))
            return made

    _write_small_files(kind, configs, folder)
    return Shapes(folder)


def random_base(name: str, folder: Path, device: str, dtype: torch.dtype) -> Family:
    """A published base with random weights in `dtype` on `device`; `folder` receives its small files."""
    pipeline, configs = PUBLISHED[name]
    kind: Any = FAMILIES[PIPELINES[pipeline]]

    class Random(kind):
        def _load(self, name: str) -> Any:
            return self._read(self.base, name, dtype)

        def _read(self, folder: Path, name: str, dtype: torch.dtype) -> Any:
            former = torch.get_default_dtype()
            torch.set_default_dtype(dtype)
            try:
                return _made(self._kinds[name], configs[name]).to(device)
            finally:
                torch.set_default_dtype(former)

    _write_small_files(kind, configs, folder)
    return Random(folder, device, dtype)


def _made(kind: Any, config: dict[str, Any]) -> Any:
    return kind.from_config(config) if hasattr(kind, "from_config") else kind(CLIPTextConfig(**config))


def _write_small_files(kind: Any, configs: dict[str, Any], folder: Path) -> None:
    (folder / "scheduler").mkdir(parents=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULE))
    for encoder in kind.encoders:
        write_tokenizer(["dog"], folder / encoder.replace("text_encoder", "tokenizer"))
    (folder / INDEX).write_text(json.dumps({part: ["", ""] for part in configs}))
