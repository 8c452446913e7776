"""What a schema has against what it was given, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError

from booth.config import RunConfig
from booth.core.errors import BoothError, UsageError


def unknown_keys(values: Mapping[str, object], known: list[str], where: str, path: str = "") -> list[BoothError]:
    """An error for each key that is none; `path` leads to where the keys stand."""
    wrong: list[BoothError] = []
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            advice = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
            of_run = [key] if key in RunConfig.model_fields else get_close_matches(key, RunConfig.model_fields, n=1)
            if path and of_run and (key in of_run or not near):
                advice = f"Did you mean `{of_run[0]}`, which stands beside the method's settings and not among them?"
            told = f"There is no setting {key!r} in {where}."
            wrong.append(UsageError(told, advice, code="setting.unknown", field=f"{path}{key}"))
    return wrong


def in_plain_words(error: ValidationError, schema: type[BaseModel], path: str = "") -> list[BoothError]:
    """Each complaint of pydantic as an error whose advice is what the setting means."""
    wrong: list[BoothError] = []
    for complaint in error.errors():
        key = str(complaint["loc"][0]) if complaint["loc"] else ""
        field = f"{path}{'.'.join(map(str, complaint['loc']))}" or None
        meaning = schema.model_fields[key].description if key in schema.model_fields else None
        if complaint["type"] == "missing":
            wrong.append(UsageError(f"`{key}` is missing: {meaning}.", code="field.missing", field=field))
            continue
        told = complaint["msg"].removeprefix("Input ").removeprefix("Value error, ")
        about = f"{key} is: {meaning}." if meaning else ""
        sentence = f"{key}={complaint['input']!r} does not work: it {told}."
        wrong.append(UsageError(sentence, about, code="setting.invalid", field=field))
    return wrong
