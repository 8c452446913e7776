"""How AUTOMATIC1111, Forge and ComfyUI find a token's rows in a file, in the order in which they look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

RULES = "AUTOMATIC1111's and ComfyUI's reading of embeddings"
ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


@dataclass
class Reading:
    """Rows (n, dim) in float32 by token table, and the keys that nobody reads."""

    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    unmatched: list[str] = field(default_factory=list[str])


def read(values: Mapping[str, Any]) -> Reading:
    """Read the content of an embedding file: a safetensors file's tensors, or the dictionary of a `.pt`."""
    if "string_to_param" in values:  # the first rule of both programs; only the first entry counts
        entries: dict[str, Tensor] = dict(values["string_to_param"])
        first, *others = entries
        return Reading({"text_encoder": _rows(entries[first])}, others)
    if "clip_l" in values and "clip_g" in values:
        rows = {table: _rows(values[name]) for name, table in ENCODERS.items()}
        return Reading(rows, sorted(values.keys() - ENCODERS.keys()))
    if len(values) != 1:  # AUTOMATIC1111 insists on one tensor, of any name
        return Reading(unmatched=sorted(values))
    return Reading({"text_encoder": _rows(next(iter(values.values())))})


def read_bundle(values: Mapping[str, Tensor]) -> dict[str, Reading]:
    """The embeddings that travel in a LoRA file, by their word: `bundle_emb.WORD.string_to_param.*` or `.clip_l`."""
    words: dict[str, dict[str, Any]] = {}
    for key, tensor in values.items():
        start, _, rest = key.partition(".")
        word, _, name = rest.partition(".")
        if start != "bundle_emb" or not name:
            continue
        table, _, entry = name.partition(".")
        if table == "string_to_param":
            words.setdefault(word, {}).setdefault(table, {})[entry] = tensor
        else:
            words.setdefault(word, {})[name] = tensor
    readings = {word: read(found) for word, found in words.items()}
    for word, found in words.items():
        if "string_to_param" in found:  # read alone, where both are there
            reading = readings[word]
            reading.unmatched = [f"string_to_param.{name}" for name in reading.unmatched]
            reading.unmatched += sorted(found.keys() - {"string_to_param"})
    return readings


def _rows(tensor: Tensor) -> Tensor:
    return torch.atleast_2d(tensor).float()
