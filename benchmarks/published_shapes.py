"""What others published of the files that methods write, and bases of those shapes without weights.

What stands on torch's meta device has a shape and takes no memory. The token tables alone are real, in zeros, because
methods read numbers from them; their 152 and 405 MB are mapped and hardly touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from booth.bench.shapes import PUBLISHED, made_by, write_small_files
from booth.core.family import Family
from booth.registry import FAMILIES, PIPELINES


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
                made = made_by(self._kinds[name], configs[name])
            if name in self.encoders:
                table = made.get_input_embeddings()
                table.weight = torch.nn.Parameter(torch.zeros(table.weight.shape, device="cpu"))
            return made

    write_small_files(kind, configs, folder)
    return Shapes(folder)
