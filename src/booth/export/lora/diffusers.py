"""LoRA under diffusers' and peft's keys, with the scale in the factors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes
from booth.export.check import Check
from booth.export.exporter import Job, Loaded, TwoWay
from booth.export.layer import Layer
from booth.export.lora import peft_proof, proof
from booth.export.lora.programs import PROGRAMS
from booth.export.lora.read import read_layers
from booth.export.lora.spelling import has_underscores, is_adapter
from booth.export.lora.write import layers_of, require_kinds
from booth.export.parts import Parts
from booth.registry import FAMILIES

PEFT = {"down": "lora_A.weight", "up": "lora_B.weight"}
FOLDED = "transformer"  # the denoisers whose files ComfyUI reads under these keys, and never their header


class Diffusers(TwoWay):
    """The adapter under peft's keys, with the ranks in the header where they differ.

    Of a transformer the scale is in the factors: ComfyUI reads these keys too, and does not look into the header.
    """

    name = "diffusers"
    title = "LoRA with diffusers' keys"
    programs = ("diffusers", "peft", "ComfyUI")
    accepts = frozenset({"layers"})
    families = tuple(FAMILIES)

    def require(self, job: Job) -> None:
        super().require(job)
        require_kinds(job, {"lora"}, "This layout is for LoRA")

    def read_by(self, job: Job) -> tuple[str, ...]:
        return ("diffusers", "peft")

    def tensors(self, job: Job) -> dict[str, Tensor]:
        require_kinds(job, {"lora"}, "This layout is for LoRA")
        found: dict[str, Tensor] = {}
        for component, module, layer in layers_of(_written(job)):
            for name, tensor in layer.factors.items():
                found[f"{component}.{module}.{PEFT[name]}"] = tensor.to(job.dtype)
            if layer.magnitude is not None:
                found[peft_proof.magnitude_key(component, module)] = _as_peft_has_it(layer).to(job.dtype)
        return found

    def write(self, job: Job, tensors: dict[str, Tensor], file: Path, header: dict[str, str]) -> None:
        super().write(job, tensors, file, header | {"lora_adapter_metadata": json.dumps(_settings(_written(job)))})

    def check(self, job: Job, file: Path) -> Check:
        """As peft merges it: scale times B A, where the header has the scale, rank by rank and layer by layer."""
        check = peft_proof.check(job, file)
        if job.base is not None:
            own = peft_proof.as_verdict(check)
            check.programs = {"diffusers": own, "peft": own}
            check.programs["ComfyUI"] = proof.verdict(
                PROGRAMS["ComfyUI"], read_tensors(file)[0], job.shapes, job.parts.layers, job.weight_of, {}
            )
        return check

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return Loaded(peft_proof.weights(job, file))

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return is_adapter(names) and not has_underscores(names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        reading = read_layers(tensors, metadata, shapes)
        return Parts(layers=reading.layers), reading.unknown


def _written(job: Job) -> Parts:
    """The layers as they are written: those of a transformer, and what goes with it, have a scale of 1."""
    if FOLDED not in job.parts.layers:
        return job.parts
    return Parts({c: {m: _folded(layer) for m, layer in modules.items()} for c, modules in job.parts.layers.items()})


def _folded(layer: Layer) -> Layer:
    up = layer.factors["up"].double() * layer.scale
    return Layer({"down": layer.factors["down"], "up": up.float()}, 1.0, layer.magnitude)


def _as_peft_has_it(layer: Layer) -> Tensor:
    """DoRA's lengths (out,), of a convolution (1, out, 1, 1)."""
    assert layer.magnitude is not None
    sides = layer.factors["down"].ndim - 2
    return layer.magnitude.view(1, -1, *[1] * sides) if sides else layer.magnitude


def _settings(parts: Parts) -> dict[str, Any]:
    """What peft needs to rebuild the adapter: the most frequent rank and alpha, and where a layer differs."""
    settings: dict[str, Any] = {}
    for component, modules in parts.layers.items():
        live = {peft_proof.live(component, module): layer for module, layer in modules.items()}
        ranks = {module: layer.rank or 1 for module, layer in live.items()}
        alphas = {module: layer.scale * (layer.rank or 1) for module, layer in live.items()}
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
