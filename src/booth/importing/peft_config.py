"""What peft writes beside an adapter's weights: rank and alpha, without which their scale is not known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.core.file_names import PEFT_SETTINGS, PEFT_WEIGHTS

HEADER = "lora_adapter_metadata"  # where diffusers writes the same into the file itself
WRAPPED = "base_model.model."  # how the keys begin that peft writes
TAKEN = ("r", "rank_pattern", "alpha_pattern", "use_rslora", "use_cayley_neumann", "num_cayley_neumann_terms",
         "projection_prng_key")  # fmt: skip


def with_config(file: Path, keys: Iterable[str], metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The header, with what `adapter_config.json` beside the file says where the header says nothing itself.

    The file is peft's by its name or by its keys. BadDataError for a configuration that is no table.
    """
    config = file.with_name(PEFT_SETTINGS)
    ours = file.name == PEFT_WEIGHTS or any(key.startswith(WRAPPED) for key in keys)
    if HEADER in metadata or not ours or not config.is_file():
        return metadata
    try:
        told: Any = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(config) from error
    if not isinstance(told, dict):
        raise _unreadable(config)
    values = {key: told[key] for key in TAKEN if told.get(key) is not None}
    alpha = told.get("lora_alpha", told.get("alpha"))  # LoRA's word, and that of LoHa and LoKr
    return {**metadata, HEADER: json.dumps(values if alpha is None else {**values, "lora_alpha": alpha})}


def _unreadable(config: Path) -> BadDataError:
    return BadDataError(
        f"{config}, which says by what the weights beside it are scaled, is no JSON table.",
        "Get it anew, or move it away to import them at a scale of 1.",
        code="lora.metadata",
        field="file",
    )
