"""LoRA and its variants under kohya's keys, with alpha: what AUTOMATIC1111, Forge and ComfyUI load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.safe_file import read_tensors, shown
from booth.export.base_files import Shapes
from booth.export.checkpoint.names import unet_keys
from booth.export.exporter import UNETS, Check, Job, Loaded, TwoWay
from booth.export.lora import proof as adapter
from booth.export.lora.stacked import stacked, stacks, unstacked
from booth.export.lora.tucker import without_core
from booth.export.parts import Layer, Parts, require_whole

# sd-scripts itself wants lora_te_ where there is one text encoder; the others take lora_te1_ too.
ONE_ENCODER = {"unet": "lora_unet", "text_encoder": "lora_te"}
TWO_ENCODERS = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
FLUX = {"transformer": "lora_unet", "text_encoder": "lora_te1"}
# LyCORIS's factors keep their names.
NAMES = {"down": "lora_down.weight", "mid": "lora_mid.weight", "up": "lora_up.weight"}


class Kohya(TwoWay):
    """Keys lora_unet_PATH.lora_down.weight and so on, with an alpha a layer."""

    name = "kohya"
    title = "LoRA with kohya's keys"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI", "sd-scripts", "diffusers")
    accepts = frozenset({"layers"})
    families = (*UNETS, "flux")

    def lost(self, job: Job) -> list[str]:
        lost = super().lost(job)
        if any(layer.magnitude is not None for _, _, layer in layers_of(job.parts)):
            lost.append(
                "DoRA's exact lengths (ComfyUI and Forge divide by the length of the base's rows, not of the merged "
                "ones; write the merged weights with --to checkpoint)"
            )
        return lost

    def read_by(self, job: Job) -> tuple[str, ...]:
        plain = all(layer.kind == "lora" for _, _, layer in layers_of(job.parts))
        without = {"AUTOMATIC1111"} if job.record.family == "flux" else set[str]()
        without |= set() if plain else {"diffusers"}
        return tuple(program for program in self.programs if program not in without)

    def tensors(self, job: Job) -> dict[str, Tensor]:
        if job.record.family == "flux" and job.base is None:
            job.need_base("Stacking queries, keys and values, as FLUX.1's own code does,")
        prefixes = prefixes_for(job.shapes)
        found: dict[str, Tensor] = {}
        layers = dict(job.parts.layers)
        if "transformer" in layers:
            layers["transformer"] = stacked(layers["transformer"], job.shapes)
        for component, module, layer in layers_of(Parts(layers)):
            found |= layer_tensors(f"{prefixes[component]}_{module.replace('.', '_')}", layer, job.dtype)
        return found

    def check(self, job: Job, file: Path) -> Check:
        return check_layers(job, read_tensors(file)[0], job.parts)

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return merged(job, read_tensors(file)[0])

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        starts = ("lora_unet_", "lora_transformer_", "lora_te_", "lora_te1_", "lora_te2_")
        bundled = any(name.startswith("bundle_emb.") for name in names)
        return not bundled and any(name.startswith(starts) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        return read_layers(tensors, shapes)


def layer_tensors(prefix: str, layer: Layer, dtype: torch.dtype) -> dict[str, Tensor]:
    """One layer's tensors. Readers take alpha / rank as the scale, which LoKr with whole factors has none of."""
    factors = {name: t.clone() for name, t in layer.factors.items()}
    found: dict[str, Tensor] = {}
    if layer.rank is None:
        factors["lokr_w1"] = factors["lokr_w1"] * layer.scale
    else:
        found[f"{prefix}.alpha"] = torch.tensor(layer.scale * layer.rank)
    for name, tensor in factors.items():
        found[f"{prefix}.{NAMES.get(name, name)}"] = tensor.to(dtype)
    if layer.magnitude is not None:
        sides = [-1] + [1] * (max(t.ndim for t in layer.factors.values()) - 1)
        found[f"{prefix}.dora_scale"] = layer.magnitude.view(sides).to(dtype)
    return found


def read_layers(tensors: Mapping[str, Tensor], shapes: Shapes) -> tuple[Parts, list[str]]:
    """Layers of a kohya file for a base, and the keys that belong to none of its layers."""
    modules = _modules(shapes)
    back = {ending: factor for factor, ending in NAMES.items()}
    factors: dict[tuple[str, str], dict[str, Tensor]] = {}
    unknown: list[str] = []
    for key, tensor in tensors.items():
        module, _, ending = key.partition(".")
        if module in modules:
            factors.setdefault(modules[module], {})[back.get(ending, ending)] = tensor
        else:
            unknown.append(key)
    parts = Parts()
    for (component, module), found in factors.items():
        alpha, magnitude = found.pop("alpha", None), found.pop("dora_scale", None)
        if alpha is not None and alpha.numel() != 1:
            raise BadDataError(
                f"The alpha of {shown(module)} has {alpha.numel()} values and not one. Get the file anew."
            )
        found = without_core(found)
        rank = Layer(found).rank if found else None
        scale = float(alpha) / rank if alpha is not None and rank else 1.0
        layer = Layer(found, scale, None if magnitude is None else _of_rows(module, magnitude))
        parts.layers.setdefault(component, {})[module] = layer
    require_whole(parts.layers)
    if "transformer" in parts.layers:
        parts.layers["transformer"] = unstacked(parts.layers["transformer"], shapes)
    return parts, unknown


def _modules(shapes: Shapes) -> dict[str, tuple[str, str]]:
    """Component and module path of a base by kohya's key; for a U-Net both by diffusers' names and by the original.

    A transformer's are diffusers' for OneTrainer, and for others where the authors have the same; FLUX.1's have not.
    """
    modules: dict[str, tuple[str, str]] = {}
    for name, key in unet_keys(shapes["unet"]).items() if "unet" in shapes else ():
        modules[f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}"] = ("unet", name.removesuffix(".weight"))
    transformer = [name.removesuffix(".weight") for name in shapes.get("transformer", {}) if name.endswith(".weight")]
    for name in (*transformer, *stacks(shapes)):
        for prefix in ("lora_unet", "lora_transformer"):
            modules[f"{prefix}_{name.replace('.', '_')}"] = ("transformer", name)
    for table in (ONE_ENCODER, TWO_ENCODERS):
        for component, prefix in table.items():
            for name in shapes.get(component, {}):
                module = name.removesuffix(".weight")
                modules[f"{prefix}_{module.replace('.', '_')}"] = (component, module)
    return modules


def _of_rows(module: str, magnitude: Tensor) -> Tensor:
    """DoRA's lengths (out,); LyCORIS has them for columns too, from before 3.0 or with wd_on_output=False."""
    if magnitude.ndim > 1 and len(magnitude) == 1 and magnitude.numel() > 1:
        raise BadDataError(
            f"This file's DoRA gives lengths to the columns of {shown(module)}, and booth's to the rows. Train it with "
            "wd_on_output=True, or merge it into a checkpoint with the program that wrote it and import that."
        )
    return magnitude.flatten()


def prefixes_for(shapes: Shapes) -> dict[str, str]:
    """The prefix of each component's keys."""
    if "transformer" in shapes:
        return FLUX
    return TWO_ENCODERS if "text_encoder_2" in shapes else ONE_ENCODER


def layers_of(parts: Parts) -> list[tuple[str, str, Layer]]:
    """All layers with their component and module path."""
    return [(c, module, layer) for c, modules in parts.layers.items() for module, layer in modules.items()]


def merged(job: Job, tensors: Mapping[str, Tensor]) -> Loaded:
    """The base's weights with the changes that the target computes from `tensors`."""
    updates = adapter.read(tensors, job.shapes).updates
    weights: dict[str, dict[str, Tensor]] = {}
    for component in sorted({component for component, _ in updates}):
        state = job.base_state(component)
        for (owner, module), update in updates.items():
            if owner == component:
                weight = state[f"{module}.weight"].float()
                weights.setdefault(component, {})[f"{module}.weight"] = weight + update.change(weight)
    return Loaded(weights)


def check_layers(job: Job, tensors: Mapping[str, Tensor], parts: Parts) -> Check:
    """Compare each layer's change as the target computes it from `tensors` with the one in `parts`."""
    reading = adapter.read(tensors, job.shapes)
    check = Check(reader=adapter.RULES, matched=reading.matched, unmatched=reading.unmatched)
    if job.base is None:
        check.against = "the concept's own names; the base is not on this machine"
    for component, module, layer in layers_of(parts):
        got = reading.updates.pop((component, module), None)
        if got is None:
            check.missing.append(f"{component}.{module}")
            continue
        weight = job.weight_of(component, module, layer)
        check.compare(got.change(weight.float()), layer.change(weight))
    for (component, module), update in reading.updates.items():
        if update.change(torch.zeros(job.shapes[component][f"{module}.weight"])).any():
            check.unmatched.append(f"{component}.{module} (never trained)")
    return check
