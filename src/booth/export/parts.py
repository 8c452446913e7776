"""What a concept consists of, on tensors alone: adapter layers, token rows, whole weights, networks beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.core.concept import ConceptRecord
from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import read_tensors, shown
from booth.export.embedding.proof import ENCODERS
from booth.export.hypernetwork.networks import Hypernetwork, read_hypernetwork
from booth.export.lora.tucker import without_core

LORA_FILE = "pytorch_lora_weights.safetensors"
ROWS_FILE = "learned_embeds.safetensors"
HYPERNETWORK_FILE = "hypernetwork.safetensors"
CONTROL_FOLDER = "controlnet"
PEFT_FILE, PEFT_SETTINGS = "adapter_model.safetensors", "adapter_config.json"

# Endings of a diffusers file (peft's spelling and two older ones) and of LyCORIS, and the factor each one is.
FACTORS = {
    "lora_A.weight": "down", "lora_B.weight": "up",
    "lora.down.weight": "down", "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down", "lora_linear_layer.up.weight": "up",
    "lora_magnitude_vector": "magnitude", "lora_magnitude_vector.weight": "magnitude",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}  # fmt: skip
ENDING = re.compile(rf"(.+)\.({'|'.join(re.escape(e) for e in sorted(FACTORS, key=len, reverse=True))})")


@dataclass(frozen=True)
class Layer:
    """The trained update of one layer's weight.

    LoRA (2106.09685): scale `up` (out, r, ...) times `down` (r, in, ...). LoHa (2108.06098): scale (w1_a w1_b) *
    (w2_a w2_b). LoKr: scale w1 (x) w2. DoRA (2402.09353) then gives each row of the sum the length in `magnitude`.
    """

    factors: Mapping[str, Tensor]
    scale: float = 1.0  # alpha / rank
    magnitude: Tensor | None = None  # (out,)

    @property
    def kind(self) -> str:
        """lora, loha or lokr."""
        first = next(iter(self.factors))
        return "loha" if first.startswith("hada") else "lokr" if first.startswith("lokr") else "lora"

    @property
    def rank(self) -> int | None:
        """The inner size of the factors; none where LoKr's are both whole."""
        inner = {"lora": ("down",), "loha": ("hada_w1_b",), "lokr": ("lokr_w2_b", "lokr_w1_b")}[self.kind]
        found = (self.factors[name] for name in inner if name in self.factors)
        return next((factor.shape[0] for factor in found if factor.ndim), None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the product: the weight's, or (out, the rest) where the factors do not tell a kernel's sides.

        Raises RuntimeError where the factors do not fit each other.
        """
        return tuple(Layer({name: t.to("meta") for name, t in self.factors.items()}).product().shape)

    def product(self) -> Tensor:
        """The update without scale and magnitude in float64, by the formulas of the papers."""
        f = {name: tensor.double() for name, tensor in self.factors.items()}
        if self.kind == "lora":
            product = f["up"].flatten(1) @ f["down"].flatten(1)
            return product.reshape(len(product), *f["down"].shape[1:])
        if self.kind == "loha":
            return (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"])
        first = f["lokr_w1"] if "lokr_w1" in f else f["lokr_w1_a"] @ f["lokr_w1_b"]
        second = f["lokr_w2"] if "lokr_w2" in f else f["lokr_w2_a"] @ f["lokr_w2_b"]
        while first.ndim < second.ndim:
            first = first.unsqueeze(-1)
        return torch.kron(first, second)

    def change(self, weight: Tensor) -> Tensor:
        """The weight's change in float64; `weight` is the base's."""
        change = self.scale * self.product().reshape(weight.shape)
        if self.magnitude is None:
            return change
        merged = weight.double() + change
        length = merged.flatten(1).norm(dim=1)
        sides = [-1] + [1] * (weight.ndim - 1)
        return merged * (self.magnitude.double() / length).view(sides) - weight.double()


@dataclass
class Parts:
    """All that was trained; empty fields are absent."""

    layers: dict[str, dict[str, Layer]] = field(default_factory=dict[str, dict[str, Layer]])  # component, module
    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # token table: (n, dim)
    weights: dict[str, Callable[[], dict[str, Tensor]]] = field(
        default_factory=dict[str, Callable[[], dict[str, Tensor]]]
    )  # component: its whole state, read when asked for
    hypernetwork: Hypernetwork | None = None
    control: Callable[[], dict[str, Tensor]] | None = None  # a ControlNet's whole state, likewise
    other: list[str] = field(default_factory=list[str])  # weight files of methods that no format here is for

    @property
    def kinds(self) -> set[str]:
        """Which fields hold something."""
        found = {"layers": self.layers, "rows": self.rows, "weights": self.weights,
                 "hypernetwork": self.hypernetwork, "control": self.control}  # fmt: skip
        return {name for name, value in found.items() if value}


def parts_of(folder: Path, record: ConceptRecord) -> Parts:
    """Read a concept's files; the base is not needed."""
    parts = Parts()
    if (folder / LORA_FILE).is_file():
        tensors, metadata = read_tensors(folder / LORA_FILE)
        parts.layers, unknown = diffusers_layers(tensors, metadata)
        if unknown:
            raise BadDataError(f"{folder / LORA_FILE} holds {shown(unknown[0])}, which no LoRA has.")
    if (folder / ROWS_FILE).is_file():
        tensors, _ = read_tensors(folder / ROWS_FILE)
        tables = {record.subject.token: "text_encoder"} | ENCODERS
        parts.rows = {tables.get(name, name): torch.atleast_2d(t) for name, t in tensors.items()}
    if (folder / HYPERNETWORK_FILE).is_file():
        parts.hypernetwork = read_hypernetwork(folder / HYPERNETWORK_FILE)
    known = {LORA_FILE, ROWS_FILE, HYPERNETWORK_FILE}
    files = [file for stage in record.stages for file in stage.files]
    parts.other = [file for file in files if file.endswith(".safetensors") and "/" not in file and file not in known]
    written = {file.split("/")[0] for file in files if "/" in file}
    for name in sorted(written & {"unet", "transformer", "text_encoder", "text_encoder_2"}):
        if (folder / name / PEFT_FILE).is_file():
            parts.layers[name] = peft_layers(folder / name)
        else:
            parts.weights[name] = lambda name=name: component_tensors(folder / name)
    if CONTROL_FOLDER in written:
        parts.control = lambda: component_tensors(folder / CONTROL_FOLDER)
    return parts


def peft_layers(folder: Path) -> dict[str, Layer]:
    """The layers of a component from peft's own folder, in which LoHa and LoKr are kept."""
    tensors, _ = read_tensors(folder / PEFT_FILE)
    settings: dict[str, Any] = json.loads((folder / PEFT_SETTINGS).read_text(encoding="utf-8"))
    plain = {f"{folder.name}.{name.removeprefix('base_model.model.')}": t for name, t in tensors.items()}
    settings["lora_alpha"] = settings.get("alpha")
    prefixed = {f"{folder.name}.{name}": value for name, value in settings.items()}
    layers, unknown = diffusers_layers(plain, {"lora_adapter_metadata": json.dumps(prefixed)})
    if unknown:
        raise UsageError(
            f"{folder.parent} holds {settings.get('peft_type', 'an adapter')} ({shown(unknown[0])}), which no other "
            "program's file can hold. Draw with it here, or train a LoRA."
        )
    return layers[folder.name]


def diffusers_layers(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, dict[str, Layer]], list[str]]:
    """Adapter layers by component and module path from diffusers' keys, and the keys that are none.

    The scale is in the header's `lora_adapter_metadata`, or in `.alpha` tensors; without either it is 1.
    """
    settings = _told(metadata)
    factors: dict[str, dict[str, dict[str, Tensor]]] = {}
    alphas: dict[str, float] = {}
    unknown: list[str] = []
    for key, tensor in tensors.items():
        component, _, path = key.partition(".")
        found = ENDING.fullmatch(path)
        if path.endswith(".alpha") and tensor.numel() == 1:
            alphas[f"{component}.{_with_wrapper(component, path.removesuffix('.alpha'))}"] = float(tensor)
        elif found is None or component not in {"unet", "transformer", "text_encoder", "text_encoder_2"}:
            unknown.append(key)
        else:
            module = _with_wrapper(component, found[1])
            factors.setdefault(component, {}).setdefault(module, {})[FACTORS[found[2]]] = tensor
    layers: dict[str, dict[str, Layer]] = {}
    for component, modules in factors.items():
        layers[component] = {}
        for module, parts in modules.items():
            magnitude = parts.pop("magnitude", None)
            parts = without_core(parts)
            rank = _setting(settings, component, module, "rank_pattern", "r") or Layer(parts).rank
            alpha = alphas.get(f"{component}.{module}")
            if alpha is None:
                alpha = _setting(settings, component, module, "alpha_pattern", "lora_alpha")
            root = settings.get(f"{component}.use_rslora", False)  # 2312.03732
            scale = alpha / (math.sqrt(rank) if root else rank) if alpha is not None and rank else 1.0
            layers[component][module] = Layer(parts, scale, None if magnitude is None else magnitude.flatten())
    require_whole(layers)
    return layers, unknown


def _told(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the header says of ranks and alphas; BadDataError unless these are such numbers."""
    try:
        settings = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        numbers = [value for key, value in settings.items() if key.endswith((".r", ".lora_alpha"))]
        patterns = [value for key, value in settings.items() if key.endswith("_pattern")]
        numbers += [number for pattern in patterns for number in (pattern or {}).values()]
        sound = all(isinstance(n, int | float) and 0 <= n < math.inf for n in numbers if n is not None)
    except (AttributeError, ValueError):
        sound = False
    if not sound:
        raise BadDataError(
            "The lora_adapter_metadata in its header is no table of ranks and alphas. Get the file anew."
        )
    return settings


def require_whole(layers: Mapping[str, Mapping[str, Layer]]) -> None:
    """BadDataError for a layer that lacks one of its factors."""
    sets = {
        "lora": [{"down", "up"}],
        "loha": [{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}],
        "lokr": [a | b for a in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
                 for b in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"})],
    }  # fmt: skip
    for component, modules in layers.items():
        for module, layer in modules.items():
            if not layer.factors or set(layer.factors) not in sets[layer.kind]:
                raise BadDataError(
                    f"The {layer.kind if layer.factors else 'adapter'} layer {shown(module)} of {component} has the "
                    f"factors {', '.join(layer.factors) or 'none'}; one is missing or of an unknown kind."
                )


def component_tensors(folder: Path) -> dict[str, Tensor]:
    """The state of a component in a diffusers folder under its canonical names."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        tensors |= read_tensors(file)[0]
    return {canonical(folder.name, name): t for name, t in tensors.items() if not name.endswith("position_ids")}


def weight_files(folder: Path) -> list[Path]:
    """The files with a component's weights, without a half-precision variant of them."""
    files = sorted(folder.glob("*.safetensors"))
    return [f for f in files if ".fp16." not in f.name] or files


def canonical(component: str, name: str) -> str:
    """The name of a tensor as every file of the field spells it; versions of transformers differ in a wrapper."""
    inner = name.startswith(("embeddings.", "encoder.", "final_layer_norm."))
    return f"text_model.{name}" if component.startswith("text_encoder") and inner else name


def _with_wrapper(component: str, module: str) -> str:
    return canonical(component, module + ".").removesuffix(".")


def _setting(settings: Mapping[str, Any], component: str, module: str, pattern: str, common: str) -> Any:
    """What peft uses for a layer: the entry of its pattern, by full name or ending, or the common value."""
    patterns: dict[str, Any] = settings.get(f"{component}.{pattern}") or {}
    bare = module.removeprefix("text_model.")
    for key, value in patterns.items():
        name = key.removeprefix("^").removeprefix("text_model.")
        if bare == name or (not key.startswith("^") and bare.endswith(f".{name}")):
            return value
    return settings.get(f"{component}.{common}")
