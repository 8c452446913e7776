"""The layers of a base by all names that trainers have for them, with dots or with underscores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from booth.export.lora.spelling import DENOISER, without_prefix
from booth.export.original.place import Place
from booth.export.original.places import places

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
DENOISERS = ("unet", "transformer")
# OpenCLIP's names of CLIP's layers.
OPEN_CLIP = {"self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "layer_norm1": "ln_1", "layer_norm2": "ln_2"}  # fmt: skip
OPEN_CLIP_TOP = {"final_layer_norm": "ln_final", "embeddings.token_embedding": "token_embedding"}


@dataclass(frozen=True)
class Target:
    """What a name of a file stands for."""

    component: str
    place: Place


class Names:
    """Finds what the keys of a file mean in a base of these shapes."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._modules = {component: _spellings(component, tensors) for component, tensors in shapes.items()}

    def find(self, path: str) -> Target | None:
        """The layer that a key without its factor means; None where the base has no such."""
        for named, module in without_prefix(path):
            flat = module.replace(".", "_")
            for component in self._meant(named):
                place = self._modules[component].get(flat)
                if place is not None:
                    return Target(component, place)
        return None

    def _meant(self, named: str | None) -> list[str]:
        """The components of the base that a prefix may mean; where it names none, all from the denoiser on."""
        here = sorted(self.shapes, key=lambda name: (name not in DENOISERS, name))
        if named is None:
            return [name for name in here if name != "vae"]
        if named == DENOISER:
            return [name for name in here if name in DENOISERS]
        if named == "text_encoder_3" and named not in self.shapes:
            named = "text_encoder_2"  # FLUX.1's T5, which some trainers count as the third
        return [named] if named in self.shapes else []


def _spellings(component: str, tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Place]:
    """The places of a component by every spelling with underscores; the base's own names win over others'."""
    own = {name.removesuffix(".weight"): Place((name.removesuffix(".weight"),))
           for name in tensors if name.endswith(".weight")}  # fmt: skip
    theirs = places(component, tensors) if component in DENOISERS else _of_text_encoder(own)
    found = {name.replace(".", "_"): place for name, place in theirs.items()}
    for name, place in own.items():
        if name.endswith(".to_out.0"):  # as attention processors have it
            found.setdefault(name.removesuffix(".0").replace(".", "_"), place)
    return found | {name.replace(".", "_"): place for name, place in own.items()}


def _of_text_encoder(own: Mapping[str, Place]) -> dict[str, Place]:
    """CLIP's layers without their wrapper, and as OpenCLIP calls them; T5's names are the same everywhere."""
    found: dict[str, Place] = {}
    for name, place in own.items():
        plain = name.removeprefix("text_model.")
        found[plain] = place
        if plain in OPEN_CLIP_TOP:
            found[OPEN_CLIP_TOP[plain]] = place
        if not plain.startswith("encoder.layers."):
            continue
        number, layer = plain.removeprefix("encoder.layers.").split(".", 1)
        start = f"transformer.resblocks.{number}."
        if layer in OPEN_CLIP:
            found[start + OPEN_CLIP[layer]] = place
        elif layer == "self_attn.q_proj":
            beside = tuple(place.modules[0].replace("q_proj", f"{x}_proj") for x in "qkv")
            found[f"{start}attn.in_proj"] = Place(beside)
            found |= {f"{start}attn.{x}_proj": Place((module,)) for x, module in zip("qkv", beside, strict=True)}
    return found | {f"model.{name}": place for name, place in found.items() if "resblocks" in name}
