"""A run's configuration from a file, assignments and keywords, and all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from booth.config import CLASS, RunConfig, missing
from booth.config.assignments import field_of, parse_assignment, put
from booth.config.complaints import in_plain_words, unknown_keys
from booth.config.settings import needs_subject, wrong_settings
from booth.config.start import going_on
from booth.core.errors import BadDataError, BoothError, Problems, UsageError
from booth.core.reading import parse_toml, read_text
from booth.registry import FAMILIES, METHODS


def load_run_config(file: Path | None, overrides: Mapping[str, object], assignments: Iterable[str] = ()) -> RunConfig:
    """Merge a TOML file, then `key=value` assignments, then overrides (None = not given); the later one wins.

    An assignment names a key of the run or a setting of the method. Raises one UsageError in plain words that tells
    all that is wrong.
    """
    wrong = Problems()
    values = _read_toml(file) if file else {}
    for text in assignments:
        with wrong.noted("settings"):
            put(values, *parse_assignment(text))
    for key, value in overrides.items():
        with wrong.noted("settings"):
            if key == "settings" and value is not None:
                put(values, key, value)
            elif value is not None:
                values[field_of(key)] = value
    wrong += unknown_keys(values, [*RunConfig.model_fields, CLASS], "this run")
    config = None
    try:
        config = RunConfig.model_validate({k: v for k, v in values.items() if k in RunConfig.model_fields})
    except ValidationError as error:
        wrong += in_plain_words(error, RunConfig)
    if config is not None:
        with wrong.noted("start_from"):
            config = going_on(config)
    with wrong.noted("method"):
        method = str(values.get("method", config.method if config else RunConfig.model_fields["method"].default))
        if method not in METHODS:
            _ = METHODS[method]  # which says what there is
        if config is not None:
            wrong += _wrong_names(config)
        wrong += wrong_settings(method, config.settings if config else values.get("settings", {}))
    wrong.tell()
    assert config is not None
    return config if config.noun or needs_subject(config.method) else config.model_copy(update={"token": ""})


def _wrong_names(config: RunConfig) -> list[BoothError]:
    """What is wrong with the names of a run and of what it teaches; a folder of photos may be called for its subject.

    So a noun that is not given is asked for when the photos have been looked at.
    """
    wrong = Problems()
    needs = needs_subject(config.method)
    if needs and not config.noun and not any(source.is_dir() for source in config.photos):
        wrong.append(missing("noun"))
    if (needs or config.noun) and not config.token:
        wrong.append(missing("token"))
    for named in (config, *config.also):
        if named.noun and named.noun == named.token:
            wrong.append(
                UsageError(
                    f"The token and the class noun are both {named.noun!r}.",
                    "Choose a rare token, such as sks.",
                    code="token.is_noun",
                    field="token" if named is config else "also",
                )
            )
    if config.family is not None:
        with wrong.noted("family"):
            FAMILIES.named(config.family)  # so that the bases of a class that is named by its module are recognised
    return wrong


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        values = parse_toml(read_text(file))
    except BadDataError as error:
        told = error.about(f"The configuration {file}")
        raise UsageError(told.sentence, told.advice, code="config.unreadable", field="config") from error
    if not isinstance(values.get("settings", {}), dict):
        raise UsageError(
            f"{file}: `settings` must be a table; write [settings] and the method's settings below it.",
            code="settings.no_table",
            field="settings",
        )
    if isinstance(values.get("photos"), str):
        values["photos"] = [values["photos"]]
    return {field_of(key): value for key, value in values.items()}
