"""How ComfyUI (and Forge, and AUTOMATIC1111 in all but DoRA) reads a LoRA file for a UNet model or FLUX.1.

Written from the format's description: every weight of the model has a name under which a file may change it, every
such name is asked for in the file, and what nothing asked for is left unread. The arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from booth.export.base_files import is_flux
from booth.export.checkpoint import flux_proof as flux

RULES = "ComfyUI's reading of adapter files"
CLIP_LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True)
class Update:
    """What one name of the model found in the file."""

    tensors: Mapping[str, Tensor]  # by the part of the key behind the model's name
    first: int = 0  # the first of its rows, where the target's layer has those of several layers of diffusers
    of: int | None = None  # how many the target's layer has; none = as many as the weight

    def change(self, weight: Tensor) -> Tensor:
        """The change of a float32 weight at strength 1."""
        t = {name: tensor.float() for name, tensor in self.tensors.items()}
        alpha = float(t["alpha"]) if "alpha" in t else None
        inner: int | None = None
        if "lora_up.weight" in t:
            inner = t["lora_down.weight"].shape[0]
            diff = torch.mm(t["lora_up.weight"].flatten(start_dim=1), t["lora_down.weight"].flatten(start_dim=1))
        elif "hada_w1_a" in t:
            inner = t["hada_w1_b"].shape[0]
            diff = torch.mm(t["hada_w1_a"], t["hada_w1_b"]) * torch.mm(t["hada_w2_a"], t["hada_w2_b"])
        else:
            halves: list[Tensor] = []
            for half in ("lokr_w1", "lokr_w2"):
                if half in t:
                    halves.append(t[half])
                else:
                    inner = t[f"{half}_b"].shape[0]
                    halves.append(torch.mm(t[f"{half}_a"], t[f"{half}_b"]))
            if halves[1].ndim == 4:
                halves[0] = halves[0][..., None, None]
            diff = torch.kron(halves[0], halves[1])
        scale = alpha / inner if alpha is not None and inner is not None else 1.0
        whole = scale * diff.reshape(self.of or len(weight), *weight.shape[1:])
        diff = whole[self.first : self.first + len(weight)]
        return diff if "dora_scale" not in t else self._decomposed(weight, diff, t["dora_scale"]) - weight

    @staticmethod
    def _decomposed(weight: Tensor, diff: Tensor, dora_scale: Tensor) -> Tensor:
        """On the output axis ComfyUI divides by the norm of the weight as it was, on the input axis of the sum."""
        merged = weight + diff
        if dora_scale.shape[0] == merged.shape[0]:
            norm = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
        else:
            norm = merged.transpose(0, 1).flatten(1).norm(dim=1).view(1, -1, *[1] * (weight.ndim - 2))
        return merged * (dora_scale / (norm + torch.finfo(weight.dtype).eps))


@dataclass
class Reading:
    """What the program made of the file."""

    matched: int = 0
    unmatched: list[str] = field(default_factory=list[str])
    updates: dict[tuple[str, str], Update] = field(default_factory=dict[tuple[str, str], Update])


def stacks(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, list[tuple[str, int]]]:
    """FLUX.1's layers, which are called as its authors do: diffusers' modules in each, with how many rows they have."""
    known = shapes.get("transformer", {})
    if not is_flux(shapes):
        return {}
    return {
        "lora_unet_" + theirs.replace(".", "_"): [(our, known[f"{our}.weight"][0]) for our in ours]
        for theirs, ours in flux.modules(known).items()
        if f"{ours[0]}.weight" in known and theirs != "final_layer.adaLN_modulation.1"  # its halves change places
    }


def names(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, tuple[str, str]]:
    """Under which names a file may change which layer (component, module path) of the model."""
    found: dict[str, tuple[str, str]] = {}
    for tensor in shapes.get("unet", {}):
        if tensor.endswith(".weight"):
            module = tensor[: -len(".weight")]
            found["lora_unet_" + module.replace(".", "_")] = ("unet", module)
            found["lycoris_" + module.replace(".", "_")] = ("unet", module)
    for component, prefixes in {"text_encoder": ("lora_te_", "lora_te1_"), "text_encoder_2": ("lora_te2_",)}.items():
        for block in range(32):
            for layer in CLIP_LAYERS:
                module = f"text_model.encoder.layers.{block}.{layer}"
                if f"{module}.weight" in shapes.get(component, {}):
                    for prefix in prefixes:
                        found[prefix + module.replace(".", "_")] = (component, module)
    return found


def read(tensors: Mapping[str, Tensor], shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> Reading:
    """Read a file's tensors for a model whose weights have these shapes, by component and name."""
    reading, asked = Reading(), set[str]()
    for name, place in names(shapes).items():
        if held := _held(tensors, name):
            reading.updates[place] = Update(held)
            asked |= {f"{name}.{ending}" for ending in held}
    for name, modules in stacks(shapes).items():
        if held := _held(tensors, name):
            first, of = 0, sum(rows for _, rows in modules)
            for module, rows in modules:
                reading.updates["transformer", module] = Update(held, first, of)
                first += rows
            asked |= {f"{name}.{ending}" for ending in held}
    reading.matched = len(asked)
    reading.unmatched = sorted(tensors.keys() - asked)
    return reading


def _held(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What a file has under a name of the model; empty where that is no change."""
    known = ("alpha", "dora_scale", "lora_up.weight", "lora_down.weight")
    known += tuple(f"hada_w{i}_{side}" for i in (1, 2) for side in "ab")
    known += tuple(f"lokr_w{i}{side}" for i in (1, 2) for side in ("", "_a", "_b"))
    held = {ending: tensors[f"{name}.{ending}"] for ending in known if f"{name}.{ending}" in tensors}
    return held if held.keys() - {"alpha", "dora_scale"} else {}
