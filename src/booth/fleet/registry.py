"""registry.jsonl: every finished adapter by name, for whoever serves them; and what can be swapped while it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from booth.core.errors import UsageError
from booth.core.file_names import LORA
from booth.fleet.manifest import Entry
from booth.fleet.place import Place
from booth.fleet.runs import SUBJECTS
from booth.registry import METHODS

REGISTRY = "registry.jsonl"
SHAPING = ("rank", "targets", "train_text_encoder")  # settings that decide which tensors there are, and their shapes


def require_one_shape(entries: Sequence[Entry]) -> None:
    """UsageError unless all runs make LoRAs of one rank on one set of layers of one base."""
    found: dict[str, str] = {}
    for entry in entries:
        config = entry.config
        if LORA not in METHODS[config.method].files:
            raise UsageError(
                f"{entry.subject} is taught by {config.method}, whose files cannot be swapped in diffusers.",
                "Leave `hot_swap` out, or teach all by lora.",
                code="hot_swap.method",
                field="hot_swap",
            )
        shape = {key: config.settings.get(key) for key in SHAPING}
        about = json.dumps({"base": config.base, "method": config.method, **shape}, default=str)
        found.setdefault(about, entry.subject)
    if len(found) > 1:
        first, second = list(found.items())[:2]
        raise UsageError(
            f"{first[1]} and {second[1]} would have adapters of different shapes ({first[0]} and {second[0]}), which "
            "cannot take each other's place.",
            "Give all runs the same, or leave `hot_swap` out.",
            code="hot_swap.shapes",
            field="hot_swap",
        )


def write_registry(place: Place, done: Sequence[Mapping[str, object]]) -> None:
    """One line a finished run: name, hash, base, metrics, files, and the shape by which adapters can be swapped."""
    lines = [json.dumps(_line(run), ensure_ascii=False) + "\n" for run in done]
    place.write(REGISTRY, "".join(lines).encode())


def _line(run: Mapping[str, Any]) -> dict[str, Any]:
    home = f"{SUBJECTS}/{run['subject']}/{run['id']}"
    weights = {name: digest for name, digest in run["files"].items() if name.endswith(".safetensors")}
    return {
        "name": run["subject"],
        "id": run["id"],
        "folder": f"{home}/concept",
        "token": run["token"],
        "class": run["class"],
        "method": run["method"],
        "rank": run["settings"].get("rank"),
        "shape": run["shape"],
        "base": run["base"],
        "files": {f"{home}/{name}": digest for name, digest in weights.items()},
        "metrics": run["metrics"],
        "booth": run["versions"].get("booth"),
    }
