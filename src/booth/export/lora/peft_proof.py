"""How peft merges a file that diffusers' `load_lora_weights` has handed to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.core.safe_file import read_tensors
from booth.export.check import Check, Verdict, lost_by_lengths
from booth.export.exporter import Job

RULES = "peft's reading of diffusers' files"


def check(job: Job, file: Path) -> Check:
    """Every layer of the concept as peft merges it from the file."""
    tensors, settings = _opened(file)
    found = Check(reader=RULES)
    for component, module in _layers(job):
        layer = job.parts.layers[component][module]
        weight = job.weight_of(component, module, layer)
        lengths = tensors.get(magnitude_key(component, module))
        got = _taken(tensors, settings, component, module, weight)
        if got is None:
            found.missing.append(f"{component}.{module}")
            continue
        found.matched += 2 + (layer.magnitude is not None)
        found.compare(got, layer.change(weight), 0.0 if lengths is None else lost_by_lengths(weight, lengths))
    found.unmatched = sorted(tensors)
    return found


def as_verdict(found: Check) -> Verdict:
    """The check in the words of a program's verdict."""
    return Verdict(len(found.unmatched), len(found.missing), found.difference)


def weights(job: Job, file: Path) -> dict[str, dict[str, Tensor]]:
    """The base's weights with the changes of the file, by component."""
    tensors, settings = _opened(file)
    merged: dict[str, dict[str, Tensor]] = {}
    states = {component: job.base_state(component) for component in job.parts.layers}
    for component, module in _layers(job):
        weight = states[component][f"{module}.weight"].float()
        got = _taken(tensors, settings, component, module, weight)
        if got is not None:
            merged.setdefault(component, {})[f"{module}.weight"] = weight + got
    return merged


def live(component: str, module: str) -> str:
    """A module's path in the model that is loaded into: transformers has dropped CLIP's wrapper.

    Where it is still there the path is found too, because peft compares endings.
    """
    return module.removeprefix("text_model.") if component.startswith("text_encoder") else module


def magnitude_key(component: str, module: str) -> str:
    """The key of DoRA's lengths, which transformers finds as `.weight` only."""
    ending = ".weight" if component.startswith("text_encoder") else ""
    return f"{component}.{module}.lora_magnitude_vector{ending}"


def _layers(job: Job) -> Iterator[tuple[str, str]]:
    for component, modules in job.parts.layers.items():
        for module in modules:
            yield component, module


def _opened(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The file's tensors, and what its header tells peft."""
    tensors, metadata = read_tensors(file)
    return tensors, json.loads(metadata["lora_adapter_metadata"])


def _taken(
    tensors: dict[str, Tensor], settings: Mapping[str, Any], component: str, module: str, weight: Tensor
) -> Tensor | None:
    """A layer's change by the tensors that peft takes for it, which leave `tensors`; None where they are missing."""
    prefix = f"{component}.{module}"
    down, up = tensors.pop(f"{prefix}.lora_A.weight", None), tensors.pop(f"{prefix}.lora_B.weight", None)
    magnitude = tensors.pop(magnitude_key(component, module), None)
    if down is None or up is None or live(component, module) not in settings[f"{component}.target_modules"]:
        return None
    alpha = settings[f"{component}.alpha_pattern"].get(live(component, module), settings[f"{component}.lora_alpha"])
    got = alpha / len(down) * (up.float().flatten(1) @ down.float().flatten(1)).reshape(weight.shape)
    if not settings.get(f"{component}.use_dora"):
        return got
    lengths = weight.flatten(1).norm(dim=1) if magnitude is None else magnitude.flatten()  # what peft begins with
    merged = weight + got
    sides = [-1] + [1] * (weight.ndim - 1)
    return (lengths / merged.flatten(1).norm(dim=1)).view(sides) * merged - weight
