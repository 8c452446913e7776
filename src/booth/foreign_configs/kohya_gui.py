"""The JSON that kohya_ss, the GUI of sd-scripts, saves: every one of its fields, whether it is set or not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from booth.core.json_values import Json

# What sd-scripts calls a field of the GUI's.
NAMES = {"max_resolution": "resolution", "optimizer": "optimizer_type", "epoch": "max_train_epochs"}
KINDS = re.compile(r"LyCORIS/(?P<algorithm>\S+)")
MODULES = {"Standard": "networks.lora", "Flux1": "networks.lora_flux", "Kohya LoCon": "networks.lora",
           "Kohya DyLoRA": "networks.dylora", "Kohya LoRA-FA": "networks.lora_fa"}  # fmt: skip
NATIVE = {"Native": "full"}  # of LyCORIS' "Native Fine-Tuning"
ARGUMENTS = ("conv_dim", "conv_alpha", "factor")  # which the GUI hands over as network_args
OFF = (None, "", 0, "0", False, [])


def read(text: str) -> dict[str, Json] | None:
    """The fields that are set, as options of sd-scripts; None for a text that is no such JSON."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or "train_data_dir" not in values or "output_name" not in values:
        return None
    fields: dict[str, Any] = values
    given = {NAMES.get(key, key): value for key, value in fields.items() if value not in OFF and key != "LoRA_type"}
    if fields.get("max_train_steps") not in OFF:
        given.pop("max_train_epochs", None)  # of which the steps are made there, too
    if "LoRA_type" in fields:
        given |= _network(str(fields["LoRA_type"]), fields)
        given = {key: value for key, value in given.items() if key not in ARGUMENTS}
    share = given.pop("lr_warmup", None)  # in per cent of the steps
    if share is not None and "lr_warmup_steps" not in given:
        given["lr_warmup_steps"] = float(share) / 100
    return given


def _network(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The network's module and arguments; the GUI trains no text encoder whose rate is 0."""
    found = KINDS.match(kind)
    arguments = [f"{key}={fields[key]}" for key in ARGUMENTS if fields.get(key) not in OFF]
    if found is None:
        module = MODULES.get(kind, kind)
        arguments = arguments if kind == "Kohya LoCon" else []
    else:
        module, algorithm = "lycoris.kohya", found["algorithm"]
        arguments.insert(0, f"algo={NATIVE.get(algorithm, algorithm.lower())}")
    alone = {"network_train_unet_only": True} if fields.get("text_encoder_lr", 1) in OFF else {}
    return {"network_module": module, "network_args": arguments, **alone}
