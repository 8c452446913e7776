"""What the registry holds, told in data: for `booth methods` and the reference pages."""

from __future__ import annotations

from typing import Any

from booth.core.errors import NotAvailableError
from booth.core.method import Method, MethodConfig, Subject
from booth.families.loading import EMBEDDED, load_family
from booth.registry import FAMILIES, METHODS


def describe_methods(base: str | None = None, *, sizes: bool = True) -> list[dict[str, Any]]:
    """Every method: what it trains, saves and needs, the families that offer that, and its default settings.

    With `sizes`, also how many values each would train on a base that it works on (the embedded one, where it is
    installed, unless another is named) and the bytes that they take in a file.
    """
    families = {name: FAMILIES[name] for name in FAMILIES}
    entries: list[dict[str, Any]] = []
    for name in METHODS:
        kind: type[Method] = METHODS[name]
        entries.append(
            {
                "name": name,
                "title": kind.title,
                "trains": kind.trains,
                "files": list(kind.files),
                "needs": list(kind.needs),
                "families": [n for n, family in families.items() if set(kind.needs) <= set(family.offers)],
                "defaults": {scale: kind.defaults(scale) for scale in ("tiny", "full")},
            }
        )
    found = _sizes(base) if sizes else {}
    return [entry | found.get(entry["name"], {}) for entry in entries]


def describe_families() -> list[dict[str, Any]]:
    """Every model family: its sites, the methods that find what they need there, and how it is drawn by default."""
    return [
        {
            "name": name,
            "title": family.title,
            "offers": list(family.offers),
            "methods": [method for method in METHODS if set(METHODS[method].needs) <= set(family.offers)],
            "sampler": family.sampler,
            "guidance": family.guidance,
        }
        for name, family in FAMILIES.items()
    ]


def describe_settings(schema: type[MethodConfig]) -> list[dict[str, Any]]:
    """Each setting of a schema with its type, default and meaning."""
    return [
        {
            "name": name,
            "type": getattr(field.annotation, "__name__", str(field.annotation)).replace("typing.", ""),
            "default": field.default,
            "meaning": field.description or "",
        }
        for name, field in schema.model_fields.items()
    ]


def _sizes(base: str | None) -> dict[str, dict[str, Any]]:
    """Values and bytes that each method trains on a base, counted by attaching it."""
    try:
        model = load_family(base or EMBEDDED)
    except NotAvailableError:
        if base is not None:
            raise
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in METHODS:
        kind: type[Method] = METHODS[name]
        if not set(kind.needs) <= set(model.offers):
            continue
        method = kind(kind.Config.model_validate(kind.defaults(model.scale)), Subject("sks", "dog"))
        values = taken = 0
        stages = method.plan()
        try:
            for stage in stages:
                for group in stage.method.attach(model, 0):
                    values += sum(p.numel() for p in group.parameters.values())
                    taken += sum(p.numel() * p.element_size() for p in group.parameters.values())
        finally:
            for stage in reversed(stages):
                stage.method.detach(model)
        found[name] = {"base": base or EMBEDDED, "values": values, "bytes": taken}
    return found
