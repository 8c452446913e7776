"""Under which names each program lets an adapter file change which layer, and what else it makes of such a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from booth.export.checkpoint import flux_proof
from booth.export.checkpoint.proof import unet_names
from booth.export.original.flux import is_chroma, is_flux
from booth.export.original.places import in_comfyui, keeps_diffusers, keeps_names, maps_diffusers, places
from booth.export.original.stable_diffusion_3 import is_stable_diffusion_3

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
CLIP_LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
ALL_KINDS = frozenset({"lora", "loha", "lokr", "diff"})
DIFFUSERS_PREFIXES = ("transformer.", "lycoris_", "lora_transformer_")
AS_IN_DIFFUSERS = "txt_norm.weight"  # of Qwen-Image, whose authors' names are diffusers'
# By whose lengths DoRA is divided: of the rows before the change, of those after it, or of the columns after it.
BASE_ROWS, MERGED_ROWS, COLUMNS = "base rows", "merged rows", "columns"


@dataclass(frozen=True)
class Slot:
    """A layer of the model, and which rows of the program's own layer are its."""

    component: str
    module: str
    first: int = 0
    of: int | None = None  # how many rows the program's layer has; none = as many as the weight


Slots = dict[str, list[Slot]]  # by the name that a file's keys begin with


@dataclass(frozen=True)
class Program:
    """One program as a reader of adapter files."""

    name: str
    names: Callable[[Shapes], Slots]
    kinds: frozenset[str] = ALL_KINDS
    lengths: str | None = None  # DoRA's; None where it knows no DoRA
    refuses: Callable[[Mapping[str, Tensor]], str] = lambda tensors: ""


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _modules(shapes: Shapes, component: str) -> list[str]:
    return [name.removesuffix(".weight") for name in shapes.get(component, {}) if name.endswith(".weight")]


def _original(shapes: Shapes) -> dict[str, str]:
    """The names that the U-Net's layers have in the code of its authors, by diffusers' names."""
    unet = shapes.get("unet")
    if unet is None:
        return {}
    names = unet_names(unet)
    found: dict[str, str] = {}
    for module in _modules(shapes, "unet"):
        best = max((n for n in names if module == n or module.startswith(n + ".")), key=len, default=None)
        found[module] = module if best is None else names[best] + module[len(best) :]
    return found


def _clip(shapes: Shapes, prefixes: Mapping[str, tuple[str, ...]], wrapper: str = "") -> Slots:
    """The layers of CLIP that programs adapt, up to the 32 blocks of the largest."""
    found: Slots = {}
    for component, starts in prefixes.items():
        for block in range(32):
            for layer in CLIP_LAYERS:
                module = f"text_model.encoder.layers.{block}.{layer}"
                if f"{module}.weight" in shapes.get(component, {}):
                    found |= {start + (module if wrapper else _flat(module)): [Slot(component, module)]
                              for start in starts}  # fmt: skip
    return found


def _of_rows(shapes: Shapes) -> Iterator[tuple[str, list[Slot], bool]]:
    """A transformer's layers as its authors call them, with the rows of diffusers' in each, and whether halves swap."""
    known = shapes.get("transformer", {})
    for theirs, place in places("transformer", known).items() if in_comfyui(known) else ():
        rows = [known[f"{module}.weight"][0] for module in place.modules]
        of = sum(rows) if len(rows) > 1 else None
        yield theirs, [Slot("transformer", m, sum(rows[:i]), of) for i, m in enumerate(place.modules)], place.swapped


def _flux(shapes: Shapes) -> Slots:
    """FLUX.1's layers by building the model of its authors, without the one whose halves change places."""
    known = shapes.get("transformer", {})
    if not is_flux(known):
        return {}
    found: Slots = {}
    for theirs, ours in flux_proof.modules(known).items():
        if f"{ours[0]}.weight" not in known or theirs == "final_layer.adaLN_modulation.1":
            continue
        rows = [known[f"{our}.weight"][0] for our in ours]
        of = sum(rows)
        found["lora_unet_" + _flat(theirs)] = [
            Slot("transformer", our, sum(rows[:i]), of) for i, our in enumerate(ours)
        ]
    return found


def comfyui(shapes: Shapes) -> Slots:
    """Both spellings of a U-Net's layers; of a transformer's the authors', and diffusers' behind several prefixes."""
    found: Slots = {}
    for module, original in _original(shapes).items():
        slot = [Slot("unet", module)]
        processor = re.sub(r"\.to_", ".processor.to_", module).removesuffix(".0" if module.endswith("to_out.0") else "")
        for name in (f"lora_unet_{_flat(original)}", f"lora_unet_{_flat(module)}", f"lycoris_{_flat(module)}",
                     f"diffusion_model.{original}", f"unet.{processor}", processor):  # fmt: skip
            found[name] = slot
    for theirs, slots, swapped in _of_rows(shapes):
        if swapped:
            continue
        found[f"lora_unet_{_flat(theirs)}"] = found[f"diffusion_model.{theirs}"] = slots
        for slot in slots if maps_diffusers(shapes["transformer"]) else ():
            found |= _prefixed(Slot("transformer", slot.module))  # in a file with diffusers' names it has its own rows
    if keeps_names(shapes.get("transformer", {})):
        renamed = {slot.module for _, slots, _ in _of_rows(shapes) for slot in slots}
        for module in _modules(shapes, "transformer"):
            if module not in renamed:
                slot = Slot("transformer", module)
                found |= {f"diffusion_model.{module}": [slot], f"lora_unet_{_flat(module)}": [slot]}
                found |= _prefixed(slot) if keeps_diffusers(shapes["transformer"]) else {}
    if AS_IN_DIFFUSERS in shapes.get("transformer", {}):
        for module in _modules(shapes, "transformer"):
            slot = Slot("transformer", module)
            found |= {f"diffusion_model.{module}": [slot], f"lora_unet_{_flat(module)}": [slot], module: [slot]}
            found |= _prefixed(slot)
    found |= _clip(shapes, {"text_encoder": ("lora_te_", "lora_te1_"), "text_encoder_2": ("lora_te2_",)})
    return found | _clip(shapes, {t: (f"{t}.",) for t in ("text_encoder", "text_encoder_2")}, wrapper="dotted")


def _prefixed(slot: Slot) -> Slots:
    starts = ("transformer.{}", "lycoris_{}", "lora_transformer_{}")
    return {s.format(slot.module if s.endswith(".{}") else _flat(slot.module)): [slot] for s in starts}


def forge(shapes: Shapes) -> Slots:
    """ComfyUI's names as they were when it took its reading over, before LyCORIS's wrapper, of the models it draws."""
    names, transformer = comfyui(shapes), shapes.get("transformer", {})
    if transformer and not is_flux(transformer):
        drawn = is_chroma(transformer) or is_stable_diffusion_3(transformer)
        return {n: slots for n, slots in names.items() if drawn and not n.startswith(DIFFUSERS_PREFIXES)}
    return {name: slots for name, slots in names.items() if not name.startswith("lycoris_") or "transformer" in shapes}


def automatic1111(shapes: Shapes) -> Slots:
    """The authors' names, and those of diffusers that its numbering of blocks turns into the authors' ones."""
    found: Slots = {}
    per_level = 1 + len({n.split(".")[3] for n in shapes.get("unet", {}) if n.startswith("down_blocks.0.resnets.")})
    for module, original in _original(shapes).items():
        found[f"lora_unet_{_flat(original)}"] = [Slot("unet", module)]
        if _renumbered(_flat(module), per_level) == _flat(original):
            found[f"lora_unet_{_flat(module)}"] = [Slot("unet", module)]
    one = "text_encoder_2" not in shapes
    first = ("lora_te_", "lora_te1_") if one else ("lora_te1_",)
    return found | _clip(shapes, {"text_encoder": first, "text_encoder_2": ("lora_te2_",)})


SUFFIXES = {"conv1": "in_layers_2", "conv2": "out_layers_3", "norm1": "in_layers_0", "norm2": "out_layers_0",
            "time_emb_proj": "emb_layers_1", "conv_shortcut": "skip_connection"}  # fmt: skip


def _renumbered(name: str, each: int) -> str | None:
    """What it makes of diffusers' name, for bases of `each` - 1 layers a level (it counts with two, as its bases have).

    It takes an upsampler to stand behind an attention on all levels but the first, as in Stable Diffusion 1.
    """
    simple = {"conv_in": "input_blocks_0_0", "conv_out": "out_2", "time_embedding_linear_1": "time_embed_0",
              "time_embedding_linear_2": "time_embed_2"}  # fmt: skip
    if name in simple:
        return simple[name]
    if m := re.fullmatch(r"(down|up|mid)_blocks?_(?:(\d+)_)?(attentions|resnets)_(\d+)_(.+)", name):
        side, level, part, i, rest = m[1], int(m[2] or 0), m[3], int(m[4]), m[5]
        rest = SUFFIXES.get(rest, rest) if part == "resnets" else rest
        if side == "mid":
            return f"middle_block_{1 if part == 'attentions' else 2 * i}_{rest}"
        block = f"input_blocks_{1 + level * each + i}" if side == "down" else f"output_blocks_{level * each + i}"
        return f"{block}_{1 if part == 'attentions' else 0}_{rest}"
    if m := re.fullmatch(r"down_blocks_(\d+)_downsamplers_0_conv", name):
        return f"input_blocks_{each + int(m[1]) * each}_0_op"
    if m := re.fullmatch(r"up_blocks_(\d+)_upsamplers_0_conv", name):
        return f"output_blocks_{each - 1 + int(m[1]) * each}_{2 if int(m[1]) > 0 else 1}_conv"
    return None


# What sd-scripts wraps: everything in the attention blocks, and in the parts of the residual ones.
WRAPPED = re.compile(
    r".*(\.attentions\.\d+\..+|\.resnets\.\d+\.(conv1|conv2|time_emb_proj|conv_shortcut)|samplers\.0\.conv)"
)


def _sd_scripts_unet(shapes: Shapes, every: bool) -> Slots:
    """Its U-Net of XL has its authors' names, that of 1.x and 2.x those of diffusers."""
    xl = "text_encoder_2" in shapes
    return {
        f"lora_unet_{_flat(original if xl else module)}": [Slot("unet", module)]
        for module, original in _original(shapes).items()
        if every or (WRAPPED.fullmatch(module) and len(shapes["unet"][f"{module}.weight"]) > 1)
    }


def _sd_scripts_clip(shapes: Shapes) -> Slots:
    two = "text_encoder_2" in shapes or "transformer" in shapes
    first = ("lora_te1_",) if two else ("lora_te_",)
    return _clip(shapes, {"text_encoder": first, "text_encoder_2": ("lora_te2_",)})


def sd_scripts(shapes: Shapes) -> Slots:
    """The layers that `networks.lora` and `networks.lora_flux` look for."""
    linears = {name: slots for name, slots in _flux(shapes).items() if "_norm_" not in name}
    return _sd_scripts_unet(shapes, every=False) | linears | _sd_scripts_clip(shapes)


def lycoris(shapes: Shapes) -> Slots:
    """Every layer of the models that sd-scripts hands to it."""
    return _sd_scripts_unet(shapes, every=True) | _flux(shapes) | _sd_scripts_clip(shapes)


def diffusers(shapes: Shapes) -> Slots:
    """What its converter of kohya's files knows: both spellings of a U-Net's names, and FLUX.1's."""
    found: Slots = {}
    for module, original in _original(shapes).items():
        found |= {f"lora_unet_{_flat(name)}": [Slot("unet", module)] for name in (module, original)}
    first = ("lora_te_", "lora_te1_")
    return found | _flux(shapes) | _clip(shapes, {"text_encoder": first, "text_encoder_2": ("lora_te2_",)})


def _one_alpha(tensors: Mapping[str, Tensor]) -> str:
    """It finds the alphas of a U-Net's layers under other names than the layers, and takes one for all."""
    kinds = {key.rpartition(".")[2] for key in tensors}
    if kinds & {"hada_w1_a", "lokr_w1", "lokr_w1_a", "diff"}:
        return "takes plain LoRA alone under these keys"
    of_unet = [key for key in tensors if key.startswith("lora_unet_") and "_blocks_0_lin" not in key]
    if any("double_blocks" in key or "single_blocks" in key for key in of_unet):
        return ""
    scales = {float(tensors[key]) for key in of_unet if key.endswith(".alpha")}
    ranks = {len(tensors[key]) for key in of_unet if key.endswith(".lora_down.weight")}
    return "takes one rank and one alpha for all layers" if len(scales) > 1 or len(ranks) > 1 else ""


PROGRAMS = {
    program.name: program
    for program in (
        Program("AUTOMATIC1111", automatic1111, lengths=COLUMNS),
        Program("Forge", forge, lengths=BASE_ROWS),
        Program("ComfyUI", comfyui, lengths=BASE_ROWS),
        Program("sd-scripts", sd_scripts, kinds=frozenset({"lora"})),
        Program("LyCORIS", lycoris, lengths=MERGED_ROWS),
        Program("diffusers", diffusers, kinds=frozenset({"lora"}), lengths=MERGED_ROWS, refuses=_one_alpha),
    )
}
