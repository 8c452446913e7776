"""The files of a base's components in diffusers' layout: read at any precision, and written where they changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import nn
from transformers import PreTrainedModel

from booth.core.errors import BadDataError
from booth.families.files import INDEX


def read_component(kind: type[PreTrainedModel] | type[ModelMixin], folder: Path, dtype: torch.dtype) -> nn.Module:
    """A component of class `kind` from its folder; BadDataError if there are no weights."""
    if not any(folder.glob("*.safetensors")):
        raise BadDataError(f"{folder} holds no .safetensors weights.", code="base.incomplete", field="base")
    word = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"  # transformers', diffusers' word
    how: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, word: dtype}
    return kind.from_pretrained(folder, **how)


def write_components(folder: Path, changed: Mapping[str, nn.Module]) -> None:
    """Write components in their present precision, each into the folder of its name."""
    for name, module in changed.items():
        module.save_pretrained(folder / name, safe_serialization=True)  # type: ignore[operator]
        forget_path(folder / name / "config.json")


def copy_the_rest(folder: Path, base: Path, changed: Iterable[str]) -> None:
    """Complete a folder of `changed` components by what else the base has."""
    index = json.loads((base / INDEX).read_text())
    parts = [name for name in index if (base / name).is_dir()]
    for name in set(parts) - set(changed):
        shutil.copytree(base / name, folder / name, dirs_exist_ok=True)
    shutil.copyfile(base / INDEX, folder / INDEX)


def forget_path(file: Path) -> None:
    """Drop from a saved configuration where on this machine the base lay."""
    values = json.loads(file.read_text())
    values.pop("_name_or_path", None)
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def prefers_channels_last(device: str) -> bool:
    """Whether convolutions are faster there with the channels of a place beside each other: on GPUs."""
    return device.startswith("cuda")
