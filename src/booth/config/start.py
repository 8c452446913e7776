"""What a run takes over from the concept or the file that it starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from booth.config import RunConfig
from booth.core.concept import RECORD, read_record
from booth.core.errors import UsageError
from booth.registry import METHODS

if TYPE_CHECKING:
    from booth.core.method import Method


def going_on(config: RunConfig, *, base: bool = True) -> RunConfig:
    """With what is said by the concept that it starts from, wherever the run itself says nothing.

    Steps are the method's own, for those of the concept are made already. Without `base` the base is left as it is.
    UsageError for what is neither a concept nor a file; a file says what it holds only when it meets its base.
    """
    place = config.start_from
    if place is None or (place.suffix == ".safetensors" and place.is_file()):
        return config
    if not (place / RECORD).is_file() and is_controlnet(place):
        return config if "method" in config.model_fields_set else config.model_copy(update={"method": "controlnet"})
    if not (place / RECORD).is_file():
        told = "is no concept's folder and no .safetensors file" if place.exists() else "does not exist"
        raise UsageError(
            f"{place}, which training is to start from, {told}.",
            "Name a concept, a .safetensors file, or a ControlNet's folder.",
            code="start.missing",
            field="start_from",
        )
    record = read_record(place)
    said = {"method": record.method, "kind": record.subject.kind, "token": record.subject.token}
    said |= {"noun": record.subject.noun} | ({"base": record.base.name} if base else {})
    taken: dict[str, Any] = {k: v for k, v in said.items() if v and k not in config.model_fields_set}
    method = taken.get("method", config.method)
    same = method == record.method
    kind = METHODS.recorded(method) if same else METHODS[method]
    own = {k: v for k, v in record.settings.items() if k in carried(kind, same=same)}
    return config.model_copy(update={**taken, "settings": own | config.settings})


def carried(kind: type[Method], *, same: bool) -> list[str]:
    """The settings that a run of a method takes over from a concept that it starts from, of the `same` or another one.

    Another method takes over what the tensors are, and not how they are taught.
    """
    from booth.core.method import MethodConfig  # which loads torch

    left = {"steps", *(() if same else (*MethodConfig.model_fields, "targets", "blocks"))}
    return [name for name in kind.Config.model_fields if name not in left]


def is_controlnet(folder: Path) -> bool:
    """Whether a folder holds a ControlNet in diffusers' layout and nothing else."""
    try:
        told = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and "ControlNet" in str(told.get("_class_name"))
