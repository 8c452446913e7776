"""Forms from the schema that the command line has too: fields, which are simple, what an option does nothing beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from booth.config import RunConfig
from booth.config.assignments import parse_assignment
from booth.core.errors import Problems, UsageError

# Of a run and its method: what most people may want to change. All else is behind Advanced.
SIMPLE = (
    "steps", "until", "learning_rate", "rank", "resolution", "crop", "previews", "preview_seeds", "seed",
    "prior_weight", "flip",
)  # fmt: skip
AUTOMATIC = frozenset({"previews"})  # of these the studio has an idea of its own where nothing is typed in
# Asked elsewhere on the page, or set by the studio.
ELSEWHERE = frozenset(
    {"photos", "noun", "kind", "token", "method", "also", "out", "start_from", "resume", "settings", "base", "family"}
)

# An option does nothing where another has one of these values; the message says why. "falsy" is off, 0 or nothing.
IDLE: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
    ("class_pictures", "prior_weight", ("falsy",), "idle.no_prior"),
    ("class_pictures", "prior", ("prediction",), "idle.prediction"),
    ("prior", "prior_weight", ("falsy",), "idle.no_prior"),
    ("text_encoder_learning_rate", "train_text_encoder", ("falsy",), "idle.no_text_encoder"),
    ("learning_rate", "optimizer", ("prodigy",), "idle.prodigy"),
    ("text_encoder_learning_rate", "optimizer", ("prodigy",), "idle.prodigy"),
    ("keep_tags", "shuffle_tags", ("falsy",), "idle.no_shuffle"),
    ("min_snr_gamma", "weighting", ("constant", "p2", "cosmap", "sigma_sqrt", "edm"), "idle.weighting"),
    ("unmasked_weight", "@masks", ("falsy",), "idle.no_masks"),
    ("shuffle_tags", "@captions", ("falsy",), "idle.no_captions"),
    ("keep_tags", "@captions", ("falsy",), "idle.no_captions"),
)


def fields(schema: Mapping[str, Any], defaults: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of a JSON schema, as a form has them; `chosen` lists what may be chosen by name."""
    found: list[dict[str, Any]] = []
    for name, about in schema["properties"].items():
        options = about.get("anyOf", [about])
        optional = any(o.get("type") == "null" for o in options)
        core = next((o for o in options if o.get("type") != "null"), about)
        core = core | {k: v for k, v in about.items() if k not in ("anyOf",)}
        if "$ref" in core:
            core |= schema.get("$defs", {}).get(core["$ref"].rsplit("/", 1)[-1], {})
        choices = core.get("enum") or chosen.get(about.get("chosen", ""), [])
        found.append(
            {
                "name": name, "type": _type(core, choices), "optional": optional, "default": defaults.get(name),
                "choices": list(choices), "low": core.get("minimum", core.get("exclusiveMinimum")),
                "high": core.get("maximum", core.get("exclusiveMaximum")), "above": "exclusiveMinimum" in core,
                "below": "exclusiveMaximum" in core, "meaning": about.get("description", ""), "simple": name in SIMPLE,
                "place": SIMPLE.index(name) if name in SIMPLE else len(SIMPLE),
            }
        )  # fmt: skip
    return sorted(found, key=lambda f: (not f["simple"], SIMPLE.index(f["name"]) if f["simple"] else 0))


def _type(core: Mapping[str, Any], choices: Any) -> str:
    if choices:
        return "choice"
    return {"integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "table"}.get(
        core.get("type", ""), "text"
    )


def run_fields() -> list[dict[str, Any]]:
    """The fields of a run itself."""
    schema = RunConfig.model_json_schema()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in RunConfig.model_fields.items()}
    found = [f for f in fields(schema, defaults, {}) if f["name"] not in ELSEWHERE]
    return [f | {"default": None, "optional": True} if f["name"] in AUTOMATIC else f for f in found]


def method_fields(
    method: Mapping[str, Any], chosen: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The fields of a method's settings with the defaults that they have in this run."""
    return fields(method["schema"], defaults, chosen)


def taken(form: list[dict[str, Any]], given: Mapping[str, object], path: str = "") -> dict[str, Any]:
    """The values that differ from their defaults, each checked against its field; an error names each that is wrong.

    `path` leads to where the fields stand.
    """
    known = {f["name"]: f for f in form}
    values: dict[str, Any] = {}
    wrong = Problems()
    for name, value in given.items():
        with wrong.noted():
            if name not in known:
                raise Wrong(name, f"There is no setting {name!r} here.", code="setting.unknown")
            read = _read(known[name], value)
            if read != known[name]["default"]:
                values[name] = read
    for problem in wrong:
        problem.field = f"{path}{problem.field}"
    wrong.tell()
    return values


class Wrong(UsageError):
    """A field of a form that cannot be used."""

    def __init__(self, field: str, sentence: str, advice: str = "", *, code: str = "form.wrong") -> None:
        super().__init__(sentence, advice, code=code, field=field)


def _read(field: Mapping[str, Any], value: Any) -> Any:
    """A value as its field has it."""
    name, kind = field["name"], field["type"]
    if value is None or (value == "" and (field["optional"] or field["default"] == "")):
        if field["optional"] or field["default"] is None:
            return None
        raise Wrong(name, f"{name} needs a value: {field['meaning']}.", code="value.missing")
    if kind == "bool":
        return bool(value)
    if kind in ("int", "float"):
        return _number(field, value)
    if kind == "choice" and value not in field["choices"]:
        raise Wrong(name, f"{name} has to be one of {', '.join(map(str, field['choices']))}.", code="value.unknown")
    if kind in ("list", "table"):
        return _listed(field, value)
    return str(value)


def _number(field: Mapping[str, Any], value: Any) -> int | float:
    name = field["name"]
    try:
        number = float(value)
        if field["type"] == "int":
            if number != int(number):
                raise ValueError
            number = int(number)
    except (TypeError, ValueError, OverflowError) as error:
        whole = "a whole number" if field["type"] == "int" else "a number"
        raise Wrong(name, f"{name} has to be {whole}: {field['meaning']}.", code="value.wrong_kind") from error
    low, high = field["low"], field["high"]
    if (low is not None and (number < low or (field["above"] and number == low))) or (
        high is not None and (number > high or (field["below"] and number == high))
    ):
        raise Wrong(name, f"{name} has to be {_range(field)}.", code="value.out_of_range")
    return number


def _range(field: Mapping[str, Any]) -> str:
    parts: list[str] = []
    if field["low"] is not None:
        parts.append(f"{'more than' if field['above'] else 'at least'} {field['low']:g}")
    if field["high"] is not None:
        parts.append(f"{'less than' if field['below'] else 'at most'} {field['high']:g}")
    return " and ".join(parts)


def _listed(field: Mapping[str, Any], value: Any) -> Any:
    """A list or table, given as such, as JSON or, for a list, with commas."""
    wanted = list if field["type"] == "list" else dict
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            if wanted is dict:
                raise Wrong(
                    field["name"], f"{field['name']} has to be a table, written as JSON.", code="value.wrong_kind"
                ) from error
            value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, wanted):
        kind = "a list" if wanted is list else "a table"
        raise Wrong(field["name"], f"{field['name']} has to be {kind}.", code="value.wrong_kind")
    return value


def assignment(name: str, value: Any) -> str:
    """A value as `--set` takes it: plain where it is read back the same, else as TOML has it."""
    if value is None:
        return f"{name}=none"
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(str(k))} = {json.dumps(v)}" for k, v in value.items())
        text = f"{{{inner}}}"
    if parse_assignment(f"{name}={text}") == (name, value):
        return f"{name}={text}"
    return f"{name}={json.dumps(value)}"
