"""The file of a LoRA as diffusers' pipelines write it: under whose keys each component's tensors stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from booth.core import file_names
from booth.core.tensor_files import order_metadata

MAGNITUDE = ".lora_magnitude_vector"  # peft's name in files


def write_lora(
    save: Callable[..., None],
    folder: Path,
    layers: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, object],
    prefixes: Mapping[str, str],
) -> None:
    """Write the tensors of each component by `save`, the pipeline's own; `prefixes` are of the text encoders' keys."""
    tensors: dict[str, Any] = {}
    for name, state in layers.items():
        prefix = prefixes.get(name, "")
        # transformers finds DoRA's magnitudes as `.weight` only.
        ending = ".weight" if name in prefixes else ""
        tensors[f"{name}_lora_layers"] = {
            prefix + key + (ending if key.endswith(MAGNITUDE) else ""): tensor for key, tensor in state.items()
        }
        tensors[f"{name}_lora_adapter_metadata"] = metadata.get(name)
    save(folder, **tensors)
    order_metadata(folder / file_names.LORA)


def read_lora(folder: Path, prefixes: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """The inverse of `write_lora`."""
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in load_file(folder / file_names.LORA).items():
        component, _, rest = key.partition(".")
        rest = rest.removeprefix(prefixes.get(component, "")).replace(f"{MAGNITUDE}.weight", MAGNITUDE)
        layers.setdefault(component, {})[rest] = tensor
    return layers


def file_prefix(key: str, encoder: nn.Module | None) -> str:
    """What a CLIP encoder's keys begin with in a file, every version of transformers being able to read it.

    `key` is what embedding files call it.
    """
    return "text_model." if key.startswith("clip") and not hasattr(encoder, "text_model") else ""
