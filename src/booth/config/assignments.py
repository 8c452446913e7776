"""`key=value`, where a key is a field of the run, a setting of its method or an option of what that names."""

from __future__ import annotations

import tomllib
from typing import Any

from booth.choices import CHOICES
from booth.config import CLASS, RunConfig
from booth.core.errors import UsageError


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `key=value`; the value is read as TOML, `none` is None, and anything else is a plain string."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not key or not equals:
        raise UsageError(
            f"{text!r} is no setting.",
            "Write key=value, such as `rank=8`.",
            code="setting.unreadable",
            field="settings",
        )
    if value.lower() in {"none", "null"}:
        return key, None
    if value.lower() in {"true", "false"}:
        return key, value.lower() == "true"
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def put(values: dict[str, Any], key: str, value: Any) -> None:
    if key == "settings":
        if not isinstance(value, dict):
            raise UsageError(
                f"settings={value!r} is no table.",
                "Give its entries one by one, such as `rank=8`.",
                code="settings.no_table",
                field="settings",
            )
        values["settings"] = {**values.get("settings", {}), **value}
    elif key.partition(".")[0] in CHOICES and "." in key:  # optimizer.beta1=0.95
        field, _, option = key.partition(".")
        options = values.setdefault("settings", {}).setdefault("options", {})
        if not isinstance(options, dict) or not isinstance(options.get(field, {}), dict):
            raise UsageError(
                "`settings.options` is no table of tables.",
                f"Write [settings.options.{field}] and its settings below it.",
                code="settings.no_table",
                field="settings.options",
            )
        options[field] = {**options.get(field, {}), option: value}
    elif field_of(key) in RunConfig.model_fields:
        values[field_of(key)] = value
    else:
        values["settings"] = {**values.get("settings", {}), key: value}


def field_of(key: str) -> str:
    """The field of a run that a key stands for."""
    return "noun" if key == CLASS else key
