"""What the registry holds, told in data: for `booth methods` and the reference pages."""

from __future__ import annotations

import inspect
from typing import Any, NotRequired, TypedDict

from pydantic import BaseModel

from booth.choices import CHOICES
from booth.core.errors import NotAvailableError
from booth.core.method import Subject
from booth.families.loading import EMBEDDED, load_family
from booth.registry import ENCODERS, FAMILIES, METHODS
from booth.train.plan_state import PlanState


class MethodFacts(TypedDict):
    """What is told of a method."""

    name: str
    title: str
    trains: str
    files: list[str]
    needs: list[str]  # sites
    families: list[str]
    defaults: dict[str, dict[str, Any]]  # settings, by the scale of a base: tiny, full
    base: NotRequired[str]  # on which it was counted
    values: NotRequired[int]  # that it trains
    bytes: NotRequired[int]  # that they take in a file


class FamilyFacts(TypedDict):
    """What is told of a family of models."""

    name: str
    title: str
    offers: list[str]  # sites
    methods: list[str]
    sampler: str
    guidance: float


class EncoderFacts(TypedDict):
    """What is told of an encoder."""

    name: str
    title: str
    roles: list[str]  # what it can be asked for
    missing: str  # why it cannot be used here, in a sentence; empty where it can
    advice: str  # what to do then


class SettingFacts(TypedDict):
    """What is told of a setting."""

    name: str
    type: str
    default: Any
    meaning: str
    choices: NotRequired[list[str]]


class ChoiceFacts(TypedDict):
    """What is told of an optimiser, a schedule, a weighting, a loss or a sampler of timesteps."""

    name: str
    title: str
    about: str
    settings: list[SettingFacts]


def describe_methods(base: str | None = None, *, sizes: bool = True) -> list[MethodFacts]:
    """Every method: what it trains, saves and needs, the families that offer that, and its default settings.

    With `sizes`, also how many values each would train on a base that it works on (the embedded one, where it is
    installed, unless another is named) and the bytes that they take in a file.
    """
    families = FAMILIES.usable()
    sizes_of = _sizes(base) if sizes else {}
    entries: list[MethodFacts] = []
    for name, kind in METHODS.usable().items():
        entry: MethodFacts = {
            "name": name,
            "title": kind.title,
            "trains": kind.trains,
            "files": list(kind.files),
            "needs": list(kind.needs),
            "families": [n for n, family in families.items() if set(kind.needs) <= set(family.offers)],
            "defaults": {scale: kind.defaults(scale) for scale in ("tiny", "full")},
        }
        if name in sizes_of:
            entry["base"] = base or EMBEDDED
            entry["values"], entry["bytes"] = sizes_of[name]
        entries.append(entry)
    return entries


def describe_families() -> list[FamilyFacts]:
    """Every model family: its sites, the methods that find what they need there, and how it is drawn by default."""
    methods = METHODS.usable()
    return [
        {
            "name": name,
            "title": family.title,
            "offers": list(family.offers),
            "methods": [method for method, kind in methods.items() if set(kind.needs) <= set(family.offers)],
            "sampler": family.sampler,
            "guidance": family.guidance,
        }
        for name, family in FAMILIES.usable().items()
    ]


def describe_encoders() -> list[EncoderFacts]:
    """Every encoder: what it can be asked for, and what is missing of it on this machine."""
    told: list[EncoderFacts] = []
    for name, kind in ENCODERS.usable().items():
        missing = advice = ""
        try:
            kind.require()
        except NotAvailableError as error:
            missing, advice = error.sentence, error.advice
        told.append(
            {"name": name, "title": kind.title, "roles": list(kind.roles), "missing": missing, "advice": advice}
        )
    return told


def describe_settings(schema: type[BaseModel]) -> list[SettingFacts]:
    """Each setting of a schema with its type, default and meaning, and what may be chosen where that is by name."""
    told: list[SettingFacts] = []
    for name, field in schema.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        entry: SettingFacts = {
            "name": name,
            "type": getattr(field.annotation, "__name__", str(field.annotation)).replace("typing.", ""),
            "default": field.default,
            "meaning": field.description or "",
        }
        if "chosen" in extra:
            entry["choices"] = list(CHOICES[str(extra["chosen"])])
        told.append(entry)
    return told


def describe_choices() -> dict[str, list[ChoiceFacts]]:
    """What a method's settings choose by name, by the setting: each with its own settings, `options.SETTING.NAME`."""
    return {
        field: [
            {"name": name, "title": kind.title, "about": _first_line(kind), "settings": describe_settings(kind)}
            for name, kind in registry.usable().items()
        ]
        for field, registry in CHOICES.items()
    }


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _sizes(base: str | None) -> dict[str, tuple[int, int]]:
    """Values and bytes that each method trains on a base, counted by attaching it."""
    try:
        model = load_family(base or EMBEDDED)
    except NotAvailableError:
        if base is not None:
            raise
        return {}
    found: dict[str, tuple[int, int]] = {}
    for name, kind in METHODS.usable().items():
        if not set(kind.needs) <= set(model.offers):
            continue
        method = kind(kind.Config.model_validate(kind.defaults(model.scale)), Subject("sks", "dog"))
        counted = PlanState(model, method.plan(), 0).sizes()
        found[name] = sum(values for values, _ in counted), sum(taken for _, taken in counted)
    return found
