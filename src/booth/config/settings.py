"""The settings of a method, checked against its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from booth.choices import require_choices
from booth.config.complaints import in_plain_words, unknown_keys
from booth.core.errors import BoothError, Problems
from booth.registry import METHODS

if TYPE_CHECKING:
    from booth.core.method import MethodConfig

SETTINGS = Path(__file__).parent.parent / "assets" / "settings.json"  # of the built-in methods, written by `make docs`


def method_config(method: str, scale: str, settings: Mapping[str, object]) -> MethodConfig:
    """The settings of a method on a base of this scale ("tiny" or "full"): its defaults, overlaid by `settings`.

    Raises one UsageError that tells all that is wrong.
    """
    kind = METHODS[method]
    schema: type[MethodConfig] = kind.Config
    wrong = Problems(unknown_keys(settings, list(schema.model_fields), f"the method {method}", "settings."))
    given = {key: _as_list(schema, key, value) for key, value in settings.items() if key in schema.model_fields}
    config = None
    values = kind.defaults(scale) | given
    values["options"] = _options(kind.defaults(scale)["options"], given)
    try:
        config = schema(**values)
    except ValidationError as error:
        wrong += in_plain_words(error, schema, "settings.")
    else:
        with wrong.noted("settings.options"):
            require_choices(config)
    wrong.tell()
    assert config is not None
    return config


def _options(defaults: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> Any:
    """The defaults' options of what is still chosen, overlaid one by one by those that are given."""
    kept = {name: dict(values) for name, values in defaults.items() if name not in given}
    mine = given.get("options", {})
    if not isinstance(mine, Mapping) or not all(isinstance(values, Mapping) for values in mine.values()):
        return mine  # which the schema complains of
    return kept | {name: kept.get(name, {}) | dict(values) for name, values in mine.items()}


def _as_list(schema: type[BaseModel], key: str, value: Any) -> Any:
    """Let `targets=attention,feed_forward` stand for a list where the schema wants one."""
    if isinstance(value, str) and "tuple" in str(schema.model_fields[key].annotation):
        return [part.strip() for part in value.split(",")]
    return value


def _known(method: str) -> Mapping[str, Any] | None:
    """What is known of a built-in method without loading torch, so that a slip of the finger is told at once."""
    return json.loads(SETTINGS.read_text(encoding="utf-8")).get(method) if method in METHODS else None


def needs_subject(method: str) -> bool:
    known = _known(method)
    return METHODS[method].needs_subject if known is None else known["needs_subject"]


def wrong_settings(method: str, settings: Mapping[str, object]) -> list[BoothError]:
    """What is wrong with a method's settings; it is loaded only where there are values to look at."""
    known = _known(method)
    unknown = unknown_keys(settings, known["settings"], f"the method {method}", "settings.") if known else []
    named = {k: v for k, v in settings.items() if not known or k in known["settings"]}
    if known and not named:
        return unknown
    found = Problems()
    with found.noted("method"):
        method_config(method, "full", named)
    return [*unknown, *found]
