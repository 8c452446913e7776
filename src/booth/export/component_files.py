"""The files of a component in a diffusers folder, and the names of its tensors that all files agree on."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from booth.core.safe_file import read_tensors

CLIP = ("embeddings.", "encoder.layers.", "final_layer_norm.")  # how the names inside CLIP's wrapper begin


def component_tensors(folder: Path) -> dict[str, Tensor]:
    """The state of a component in a diffusers folder under its canonical names."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        tensors |= read_tensors(file)[0]
    return {canonical(folder.name, name): t for name, t in tensors.items() if not name.endswith("position_ids")}


def weight_files(folder: Path) -> list[Path]:
    """The files with a component's weights, without a half-precision variant of them."""
    files = sorted(folder.glob("*.safetensors"))
    return [f for f in files if ".fp16." not in f.name] or files


def canonical(component: str, name: str) -> str:
    """The name of a tensor as every file of the field spells it; versions of transformers differ in a wrapper."""
    return f"text_model.{name}" if component.startswith("text_encoder") and name.startswith(CLIP) else name
