"""A concept in diffusers' own layout: one file for an adapter or a token, a folder for whole weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.core.errors import UsageError
from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes
from booth.export.checkpoint.write import Checkpoint
from booth.export.exporter import UNETS, Check, Job, Loaded, TwoWay
from booth.export.lora.stacked import unstacked
from booth.export.lora.write import layers_of
from booth.export.parts import Layer, Parts, diffusers_layers
from booth.registry import FAMILIES

COMFYUI = "diffusion_model."  # what ai-toolkit and others call a transformer, for ComfyUI
PEFT = {"down": "lora_A.weight", "up": "lora_B.weight"}


class Diffusers(TwoWay):
    """The adapter under peft's keys, with rank and alpha of every layer in the header where they differ."""

    name = "diffusers"
    title = "LoRA with diffusers' keys"
    programs = ("diffusers", "peft")
    accepts = frozenset({"layers"})
    families = tuple(FAMILIES)

    def tensors(self, job: Job) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for component, module, layer in layers_of(job.parts):
            if layer.kind != "lora":
                raise UsageError(f"This layout is for LoRA, and {job.folder} holds {layer.kind}. {_instead(job)}")
            for name, tensor in layer.factors.items():
                found[f"{component}.{module}.{PEFT[name]}"] = tensor.to(job.dtype)
            if layer.magnitude is not None:
                found[_magnitude_key(component, module)] = _as_peft_has_it(layer).to(job.dtype)
        return found

    def write(self, job: Job, tensors: dict[str, Tensor], file: Path, header: dict[str, str]) -> None:
        super().write(job, tensors, file, header | {"lora_adapter_metadata": json.dumps(_settings(job.parts))})

    def check(self, job: Job, file: Path) -> Check:
        """As peft merges it: scale times B A, where the header has the scale, rank by rank and layer by layer."""
        tensors, settings = _opened(file)
        check = Check(reader="peft's reading of diffusers' files")
        for component, module, layer in layers_of(job.parts):
            weight = job.weight_of(component, module, layer)
            got = _taken(tensors, settings, component, module, weight)
            if got is None:
                check.missing.append(f"{component}.{module}")
                continue
            check.matched += 2 + (layer.magnitude is not None)
            check.compare(got, layer.change(weight))
        check.unmatched = sorted(tensors)
        return check

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        tensors, settings = _opened(file)
        weights: dict[str, dict[str, Tensor]] = {}
        for component, modules in job.parts.layers.items():
            state = job.base_state(component)
            for module in modules:
                weight = state[f"{module}.weight"].float()
                got = _taken(tensors, settings, component, module, weight)
                if got is not None:
                    weights.setdefault(component, {})[f"{module}.weight"] = weight + got
        return Loaded(weights)

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        starts = ("unet.", "text_encoder.", "text_encoder_2.", "transformer.", COMFYUI)
        return any(name.startswith(starts) and ("lora" in name or "hada" in name or "lokr" in name) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        plain = {
            f"transformer.{n.removeprefix(COMFYUI)}" if n.startswith(COMFYUI) else n: t for n, t in tensors.items()
        }
        layers, unknown = diffusers_layers(plain, metadata)
        if "transformer" in layers:
            layers["transformer"] = unstacked(layers["transformer"], shapes)
        return Parts(layers=layers), unknown


def _instead(job: Job) -> str:
    """Where an adapter of another kind can go, which is not the same for every family."""
    if job.record.family in UNETS:
        return "Use --to kohya, or --to checkpoint to merge it."
    if job.record.family in Checkpoint.families:
        return "Use --to checkpoint to merge it."
    return "Draw with it here, or train a LoRA."


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
    magnitude = tensors.pop(_magnitude_key(component, module), None)
    if down is None or up is None or _live(component, module) not in settings[f"{component}.target_modules"]:
        return None
    alpha = settings[f"{component}.alpha_pattern"].get(_live(component, module), settings[f"{component}.lora_alpha"])
    got = alpha / len(down) * (up.float().flatten(1) @ down.float().flatten(1)).reshape(weight.shape)
    if not settings.get(f"{component}.use_dora"):
        return got
    lengths = weight.flatten(1).norm(dim=1) if magnitude is None else magnitude.flatten()  # what peft begins with
    merged = weight + got
    sides = [-1] + [1] * (weight.ndim - 1)
    return (lengths / merged.flatten(1).norm(dim=1)).view(sides) * merged - weight


def _live(component: str, module: str) -> str:
    """A module's path in the model that is loaded into: transformers has dropped CLIP's wrapper.

    Where it is still there the path is found too, because peft compares endings.
    """
    return module.removeprefix("text_model.") if component.startswith("text_encoder") else module


def _magnitude_key(component: str, module: str) -> str:
    """The key of DoRA's lengths, which transformers finds as `.weight` only."""
    ending = ".weight" if component.startswith("text_encoder") else ""
    return f"{component}.{module}.lora_magnitude_vector{ending}"


def _as_peft_has_it(layer: Layer) -> Tensor:
    """DoRA's lengths (out,), of a convolution (1, out, 1, 1)."""
    assert layer.magnitude is not None
    sides = layer.factors["down"].ndim - 2
    return layer.magnitude.view(1, -1, *[1] * sides) if sides else layer.magnitude


def _settings(parts: Parts) -> dict[str, Any]:
    """What peft needs to rebuild the adapter: the most frequent rank and alpha, and where a layer differs."""
    settings: dict[str, Any] = {}
    for component, modules in parts.layers.items():
        ranks = {_live(component, module): layer.rank or 1 for module, layer in modules.items()}
        alphas = {_live(component, module): layer.scale * (layer.rank or 1) for module, layer in modules.items()}
        rank, alpha = _most_frequent(ranks), _most_frequent(alphas)
        settings |= {
            f"{component}.r": rank,
            f"{component}.lora_alpha": alpha,
            f"{component}.rank_pattern": {m: r for m, r in ranks.items() if r != rank},
            f"{component}.alpha_pattern": {m: a for m, a in alphas.items() if a != alpha},
            f"{component}.target_modules": sorted(ranks),
        }
        if any(layer.magnitude is not None for layer in modules.values()):
            settings[f"{component}.use_dora"] = True
    return settings


def _most_frequent(values: Mapping[str, Any]) -> Any:
    return Counter(values.values()).most_common(1)[0][0]
