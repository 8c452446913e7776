"""LoRA and its variants under kohya's keys, with alpha: what AUTOMATIC1111, Forge, ComfyUI and LyCORIS load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from booth.core.errors import UsageError
from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes, is_flux
from booth.export.check import Check
from booth.export.exporter import UNETS, Job, Loaded, TwoWay
from booth.export.layer import KINDS, Layer
from booth.export.lora import proof
from booth.export.lora.programs import PROGRAMS
from booth.export.lora.read import read_layers
from booth.export.lora.spelling import has_underscores, is_adapter
from booth.export.lora.stacked import stacked
from booth.export.original.unet import unet_keys
from booth.export.parts import Parts

# sd-scripts itself wants lora_te_ where there is one text encoder; the others take lora_te1_ too.
ONE_ENCODER = {"unet": "lora_unet", "text_encoder": "lora_te"}
TWO_ENCODERS = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
FLUX = {"transformer": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te3"}
TRANSFORMER = {
    "transformer": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2", "text_encoder_3": "lora_te3"
}  # fmt: skip
# Transformers whose authors' names ComfyUI has for their layers; with others nobody is known to read such a file.
STACKED = (
    "flux", "chroma", "flux_2_klein", "flux_2", "stable_diffusion_3", "z_image", "lumina_2", "qwen_image",
    "qwen_image_2_1", "krea_2", "ideogram_4", "ernie_image",
)  # fmt: skip
# LyCORIS's factors keep their names.
NAMES = {"down": "lora_down.weight", "up": "lora_up.weight"}
MAIN = "ComfyUI"  # whose reading has to be right; the others are named where theirs is
HELD = {"lora", "loha", "lokr"}  # kinds of layers that these keys are written for


class Kohya(TwoWay):
    """Keys lora_unet_PATH.lora_down.weight and so on, with an alpha a layer."""

    name = "kohya"
    title = "LoRA with kohya's keys"
    programs = tuple(PROGRAMS)
    accepts = frozenset({"layers"})
    families = (*UNETS, *STACKED)

    def require(self, job: Job) -> None:
        super().require(job)
        require_kinds(job, HELD, "kohya's keys are for LoRA, LoHa and LoKr")

    def lost(self, job: Job) -> list[str]:
        lost = super().lost(job)
        if any(layer.magnitude is not None for _, _, layer in layers_of(job.parts)):
            lost.append(
                "DoRA's exact lengths (ComfyUI and Forge divide by the length of the base's rows, not of the merged "
                "ones, and AUTOMATIC1111 by that of the columns; write the merged weights with `to=checkpoint`)"
            )
        return lost

    def tensors(self, job: Job) -> dict[str, Tensor]:
        if job.record.family in STACKED and job.base is None:
            job.need_base("Stacking queries, keys and values, as the code of the base's authors does,")
        if job.record.family == "stable_diffusion_xl" and job.base is None:
            job.need_base("Numbering blocks as Stable Diffusion XL's own code does")
        prefixes = prefixes_for(job.shapes)
        found: dict[str, Tensor] = {}
        layers = dict(job.parts.layers)
        if "transformer" in layers:
            layers["transformer"] = stacked(layers["transformer"], job.shapes)
        spelled = original_spelling(job)
        for component, module, layer in layers_of(Parts(layers)):
            name = spelled.get(module, module) if component == "unet" else module
            found |= layer_tensors(f"{prefixes[component]}_{name.replace('.', '_')}", layer, job.dtype)
        return found

    def check(self, job: Job, file: Path) -> Check:
        return check_layers(job, read_tensors(file)[0], job.parts, self.programs)

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return merged(job, read_tensors(file)[0])

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return is_adapter(names) and has_underscores(names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        reading = read_layers(tensors, metadata, shapes)
        return Parts(layers=reading.layers), reading.unknown


def require_kinds(job: Job, held: set[str], what: str) -> None:
    """UsageError for layers of a kind that a format has no factors for."""
    other = sorted(job.parts.kinds_of_layers - held)
    if other:
        kind = KINDS[other[0]]
        raise UsageError(
            f"{what}, and {job.folder} holds {kind} layers.", f"{instead(job)}", code="export.no_place", field="to"
        )


def instead(job: Job) -> str:
    """Where layers can go that a format does not hold, which is not the same for every family."""
    if job.record.family in (*UNETS, "flux"):
        if job.record.family in UNETS and job.parts.kinds_of_layers <= HELD:
            return "Use `to=kohya`, or `to=checkpoint` to merge it."
        return "Use `to=checkpoint`, which holds the merged weights exactly."
    return "Draw with it here, or train a LoRA."


def original_spelling(job: Job) -> dict[str, str]:
    """The authors' names of a U-Net's modules, where the trainers have them in their keys: in Stable Diffusion XL."""
    if job.record.family != "stable_diffusion_xl":
        return {}
    keys = unet_keys(job.shapes["unet"])
    return {name.removesuffix(".weight"): key.removesuffix(".weight") for name, key in keys.items()}


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


def prefixes_for(shapes: Shapes) -> dict[str, str]:
    """The prefix of each component's keys."""
    if "transformer" in shapes:
        return FLUX if is_flux(shapes) else TRANSFORMER
    return TWO_ENCODERS if "text_encoder_2" in shapes else ONE_ENCODER


def layers_of(parts: Parts) -> list[tuple[str, str, Layer]]:
    """All layers with their component and module path."""
    return [(c, module, layer) for c, modules in parts.layers.items() for module, layer in modules.items()]


def merged(job: Job, tensors: Mapping[str, Tensor]) -> Loaded:
    """The base's weights with the changes that the target computes from `tensors`."""
    updates = proof.read(tensors, job.shapes).updates
    weights: dict[str, dict[str, Tensor]] = {}
    for component in sorted({component for component, _ in updates}):
        state = job.base_state(component)
        for (owner, module), update in updates.items():
            if owner == component:
                weight = state[f"{module}.weight"].float()
                weights.setdefault(component, {})[f"{module}.weight"] = weight + update.change(weight)
    return Loaded(weights)


def check_layers(job: Job, tensors: Mapping[str, Tensor], parts: Parts, programs: tuple[str, ...] = ()) -> Check:
    """Compare each layer's change as the programs compute it from `tensors` with the one in `parts`."""
    reading = proof.read(tensors, job.shapes)
    check = Check(reader=proof.RULES, matched=reading.matched, unmatched=reading.unmatched)
    if job.base is None:
        check.against = "the concept's own names; the base is not on this machine"
    known: dict[object, float] = {}
    for name, gap in proof.compared(reading, parts.layers, job.weight_of, known):
        if gap is None:
            check.missing.append(name)
        else:
            check.difference = max(check.difference, gap)
    for (component, module), update in reading.updates.items():
        trained = module in parts.layers.get(component, {})
        if not trained and update.change(torch.zeros(job.shapes[component][f"{module}.weight"])).any():
            check.unmatched.append(f"{component}.{module} (never trained)")
    if job.base is not None:
        for name in programs:
            check.programs[name] = proof.verdict(
                PROGRAMS[name], tensors, job.shapes, parts.layers, job.weight_of, known
            )
    return check
