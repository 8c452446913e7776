"""What a concept consists of, on tensors alone: adapter layers, token rows, whole weights, networks beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.core import file_names
from booth.core.concept import ConceptRecord
from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import read_tensors, shown
from booth.core.shared_matrices import KEY, shared_matrices
from booth.export.component_files import canonical, component_tensors
from booth.export.embedding.names import TABLES
from booth.export.hypernetwork.networks import Hypernetwork, read_hypernetwork
from booth.export.layer import Layer
from booth.export.lora.read import named_layers

State = Callable[[], dict[str, Tensor]]
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass
class Parts:
    """All that was trained; empty fields are absent."""

    layers: dict[str, dict[str, Layer]] = field(default_factory=dict[str, dict[str, Layer]])  # component, module
    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # token table: (n, dim)
    weights: dict[str, State] = field(default_factory=dict[str, State])  # component: its whole state, read when needed
    hypernetwork: Hypernetwork | None = None
    control: State | None = None  # a ControlNet's whole state, likewise
    other: list[str] = field(default_factory=list[str])  # weight files of methods that no format here is for
    beside: dict[str, State] = field(default_factory=dict[str, State])  # components of a file that no concept holds
    notes: list[str] = field(default_factory=list[str])  # what is to be told of a file

    @property
    def kinds(self) -> set[str]:
        """Which fields hold something."""
        found = {"layers": self.layers, "rows": self.rows, "weights": self.weights,
                 "hypernetwork": self.hypernetwork, "control": self.control}  # fmt: skip
        return {name for name, value in found.items() if value}

    @property
    def kinds_of_layers(self) -> set[str]:
        """The kinds of all layers: lora, oft and so on."""
        return {layer.kind for modules in self.layers.values() for layer in modules.values()}


def parts_of(folder: Path, record: ConceptRecord, shapes: Shapes | None = None) -> Parts:
    """Read a concept's files; `shapes` of the base are needed for VeRA alone, whose matrices are as wide as that."""
    parts = Parts()
    if (folder / file_names.LORA).is_file():
        tensors, metadata = read_tensors(folder / file_names.LORA)
        parts.layers, unknown = named_layers(tensors, metadata)
        if unknown:
            raise BadDataError(
                f"{folder / file_names.LORA} holds {shown(unknown[0])}, which no LoRA has.",
                code="lora.unknown_key",
                field="concept",
            )
    if (folder / file_names.EMBEDDING).is_file():
        tensors, _ = read_tensors(folder / file_names.EMBEDDING)
        tables = {record.subject.token: "text_encoder"} | TABLES
        parts.rows = {tables.get(name, name): torch.atleast_2d(t) for name, t in tensors.items()}
    if (folder / file_names.HYPERNETWORK).is_file():
        parts.hypernetwork = read_hypernetwork(folder / file_names.HYPERNETWORK)
    if (folder / file_names.CUSTOM_DIFFUSION).is_file():
        parts.layers["unet"] = _keys_and_values(folder / file_names.CUSTOM_DIFFUSION)
    known = {file_names.LORA, file_names.EMBEDDING, file_names.HYPERNETWORK, file_names.CUSTOM_DIFFUSION}
    files = [file for stage in record.stages for file in stage.files]
    parts.other = [file for file in files if file.endswith(".safetensors") and "/" not in file and file not in known]
    written = {file.split("/")[0] for file in files if "/" in file}
    for name in sorted(written & {"unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"}):
        if (folder / name / file_names.PEFT_WEIGHTS).is_file():
            parts.layers[name] = peft_layers(folder / name, shapes)
        else:
            parts.weights[name] = lambda name=name: component_tensors(folder / name)
    if file_names.CONTROLNET in written:
        parts.control = lambda: component_tensors(folder / file_names.CONTROLNET)
    return parts


def peft_layers(folder: Path, shapes: Shapes | None = None) -> dict[str, Layer]:
    """The layers of a component from peft's own folder, in which all but the LoRA family are kept."""
    tensors, _ = read_tensors(folder / file_names.PEFT_WEIGHTS)
    settings: dict[str, Any] = json.loads((folder / file_names.PEFT_SETTINGS).read_text(encoding="utf-8"))
    plain = {name.removeprefix(file_names.PEFT_ROOT): t for name, t in tensors.items()}
    if settings.get("peft_type") == "OFT" and not settings.get("use_cayley_neumann"):
        return {name.removesuffix(".oft_R.weight"): Layer({"oft_r": t}) for name, t in plain.items()}
    if settings.get("peft_type") == "VERA" and shapes is not None:
        return _vera_layers(folder.name, plain, settings.get("projection_prng_key", KEY), shapes[folder.name])
    kind = settings.get("peft_type", "an adapter")
    settings["lora_alpha"] = settings.get("alpha")
    prefixed = {f"{folder.name}.{name}": value for name, value in settings.items()}
    told = {"lora_adapter_metadata": json.dumps(prefixed)}
    layers, unknown = ({}, [*plain]) if kind == "VERA" else named_layers(_within(folder.name, plain), told)
    if unknown:
        raise UsageError(
            f"{folder.parent} holds {kind} ({shown(unknown[0])}), which cannot be told without its base.",
            "Fetch the base that the concept names first.",
            code="export.no_place",
            field="to",
        )
    return layers[folder.name]


def _vera_layers(
    component: str, plain: Mapping[str, Tensor], key: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Layer]:
    """VeRA's layers as the LoRA that each is, with its part of the two matrices that all of them share."""
    vectors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in plain.items():
        module, _, which = name.rpartition(".")
        vectors.setdefault(canonical(component, f"{module}.").removesuffix("."), {})[which] = tensor.float()
    sides = {module: shapes[f"{module}.weight"][:2] for module in vectors}
    (rank,) = {len(held["vera_lambda_d"]) for held in vectors.values()}
    given, taken = (max(side) for side in zip(*sides.values(), strict=True))
    down, up = shared_matrices(rank, taken, given, key)
    return {
        module: Layer(
            {
                "down": held["vera_lambda_d"][:, None] * down[:, : sides[module][1]],
                "up": held["vera_lambda_b"][:, None] * up[: sides[module][0]],
            }
        )
        for module, held in vectors.items()
    }


def _within(component: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{component}.{name}": tensor for name, tensor in tensors.items()}


def _keys_and_values(file: Path) -> dict[str, Layer]:
    """Custom Diffusion's layers, each a whole weight; the empty tensors name the attentions that are as they were."""
    tensors, _ = read_tensors(file)
    told = re.compile(r"(.+)\.processor\.(to_[kv])_custom_diffusion\.weight")
    found = ((told.fullmatch(name), t) for name, t in tensors.items() if t.numel())
    return {f"{match[1]}.{match[2]}": Layer({"whole": t}) for match, t in found if match}
