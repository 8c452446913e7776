"""One schema of a training run for the command line, configuration files and Python.

Unknown keys are errors that name the nearest key. A method's own settings are a table, `settings`, and are checked
against that method's schema.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from booth.choices import CHOICES, require_choices
from booth.core.concept import RECORD, read_record
from booth.core.errors import BadDataError, BoothError, Problems, UsageError
from booth.core.places import at_home
from booth.core.reading import parse_toml, read_text
from booth.registry import FAMILIES, METHODS

if TYPE_CHECKING:
    from booth.core.method import Method, MethodConfig

AUTO = "auto"  # as a token: let booth pick a rare one
SETTINGS = Path(__file__).parent / "assets" / "settings.json"  # of the built-in methods, written by `make docs`
CLASS = "class"  # what `noun` is called in files and assignments; it is a word of Python


Place = Annotated[Path, AfterValidator(at_home)]


class Companion(BaseModel):
    """Another subject of the same run; in a line, "FOLDER=TOKEN NOUN"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: list[Place] = Field(min_length=1)
    token: str = Field(min_length=1)
    noun: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def from_line(cls, value: Any) -> Any:
        """Read "cats=zwx cat"."""
        if not isinstance(value, str):
            return value
        folder, _, name = value.rpartition("=")
        token, _, noun = name.strip().partition(" ")
        if not folder or not noun.strip():
            raise ValueError('must be FOLDER=TOKEN NOUN, such as "cats=zwx cat"')
        return {"photos": [folder.strip()], "token": token, "noun": noun.strip()}


class RunConfig(BaseModel):
    """Everything that decides a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: list[Place] = Field(min_length=1, description="photos, or folders of photos")
    noun: str = Field("", description="class noun of the subject, such as dog (`class` in a file)")
    kind: Literal["subject", "style"] = Field(
        "subject", description="what the photos have in common: one subject, or the style of a picture"
    )
    token: str = Field("sks", description="rare word that will name the subject; auto = pick one")
    method: str = Field("lora", description="a name that `booth methods` lists")
    also: list[Companion] = Field(
        list[Companion](), description="other subjects of the same run, each FOLDER=TOKEN NOUN"
    )
    base: str = Field("embedded", description="embedded, a diffusers folder, a .safetensors checkpoint or a Hub id")
    family: str | None = Field(None, description="what kind of base it has to be; none = whatever it is")
    out: Place | None = Field(
        None, description="folder of the concept; none = concepts/TOKEN-NOUN-METHOD, or concepts/CONTROL-METHOD"
    )
    seed: int = Field(0, ge=0, lt=2**62, description="decides all randomness of the run")
    device: str | None = Field(None, description="cpu, cuda or mps; none = cuda where there is one, else cpu")
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(None, description="none = what suits the device")
    base_precision: Literal["fp32", "bf16", "fp16", "int8", "nf4"] | None = Field(
        None, description="what the base's frozen weights are held in; none = as the memory plan says"
    )
    memory: str = Field(
        "auto", description="memory plan, as `booth doctor` lists them; auto = the cheapest to run that fits"
    )
    compile: bool = Field(
        False,
        description="compile what the denoiser repeats: for long runs on a GPU; the last digits differ",
    )
    checkpoint_every: int | None = Field(
        None, ge=0, description="steps between checkpoints; 0 = only when interrupted, none = 50 while that is cheap"
    )
    keep_checkpoints: int | None = Field(
        None, ge=1, description="how many of the newest checkpoints stay, in the concept too; none = two, while it runs"
    )
    until: Literal["steps", "done"] = Field(
        "steps", description="done = stop when nothing more is gained, and keep the best checkpoint"
    )
    previews: int = Field(0, ge=0, description="steps between previews; 0 = none")
    preview_seeds: int = Field(1, ge=1, le=8, description="pictures of each prompt in previews and samples")
    start_from: Place | None = Field(
        None, description="a concept, another trainer's .safetensors or a ControlNet's folder, to start training from"
    )
    resume: bool = Field(False, description="go on from the last checkpoint of the same run")
    crop: Literal["center", "random", "subject", "buckets"] = Field(
        "center", description="which square of a photo is used; buckets = nearly all of it, in a shape of the same area"
    )
    resolution: int | None = Field(
        None, ge=1, description="side of the squares that are learned from, in pixels; none = the base's own"
    )
    flip: bool = Field(False, description="show photos mirrored too; not for text or lopsided subjects")
    shuffle_tags: bool = Field(
        False, description="put the comma-separated parts of a caption in another order each time"
    )
    keep_tags: int = Field(1, ge=0, description="how many parts stay in front when they are shuffled")
    unmasked_weight: float = Field(
        0.1, ge=0, le=1, description="weight of the loss outside a photo's mask; 1 = masks are not used"
    )
    settings: dict[str, Any] = Field(default_factory=dict[str, Any], description="settings of the method")

    @model_validator(mode="before")
    @classmethod
    def style_has_a_noun(cls, values: Any) -> Any:
        """A style needs no class noun: it is called "sks style"."""
        if isinstance(values, dict) and values.get("kind") == "style":
            return {"noun": "style"} | values
        return values

    @property
    def folder(self) -> Path:
        """Where the concept is written."""
        noun = re.sub(r"[\s/\\:]+", "-", self.noun)  # one folder, whatever the class is called
        taught = [self.token, noun] if noun else [str(self.settings.get("control", ""))]
        method = self.method.rpartition(":")[2]  # "package.module:Class" is no name for a folder
        return self.out or Path("concepts") / "-".join(filter(None, [*taught, method]))


def load_run_config(file: Path | None, overrides: Mapping[str, Any], assignments: Iterable[str] = ()) -> RunConfig:
    """Merge a TOML file, then `key=value` assignments, then overrides (None = not given); the later one wins.

    An assignment names a key of the run or a setting of the method. Raises one UsageError in plain words that tells
    all that is wrong.
    """
    wrong = Problems()
    values = _read_toml(file) if file else {}
    for text in assignments:
        with wrong.noted("settings"):
            _put(values, *parse_assignment(text))
    for key, value in overrides.items():
        with wrong.noted("settings"):
            if key == "settings" and value is not None:
                _put(values, key, value)
            elif value is not None:
                values[_field(key)] = value
    wrong += _unknown(values, [*RunConfig.model_fields, CLASS], "this run")
    config = None
    try:
        config = RunConfig.model_validate({k: v for k, v in values.items() if k in RunConfig.model_fields})
    except ValidationError as error:
        wrong += _in_plain_words(error, RunConfig)
    if config is not None:
        with wrong.noted("start_from"):
            config = going_on(config)
    with wrong.noted("method"):
        method = str(values.get("method", config.method if config else RunConfig.model_fields["method"].default))
        if method not in METHODS:
            _ = METHODS[method]  # which says what there is
        if config is not None:
            wrong += _wrong_names(config)
        wrong += _wrong_settings(method, config.settings if config else values.get("settings", {}))
    wrong.tell()
    assert config is not None
    return config if config.noun or _needs_subject(config.method) else config.model_copy(update={"token": ""})


def _known(method: str) -> Mapping[str, Any] | None:
    """What is known of a built-in method without loading torch, so that a slip of the finger is told at once."""
    return json.loads(SETTINGS.read_text(encoding="utf-8")).get(method) if method in METHODS else None


def _needs_subject(method: str) -> bool:
    known = _known(method)
    return METHODS[method].needs_subject if known is None else known["needs_subject"]


def _wrong_settings(method: str, settings: Mapping[str, Any]) -> list[BoothError]:
    """What is wrong with a method's settings; it is loaded only where there are values to look at."""
    known = _known(method)
    unknown = _unknown(settings, known["settings"], f"the method {method}", "settings.") if known else []
    named = {k: v for k, v in settings.items() if not known or k in known["settings"]}
    if known and not named:
        return unknown
    found = Problems()
    with found.noted("method"):
        method_config(method, "full", named)
    return [*unknown, *found]


def _wrong_names(config: RunConfig) -> list[BoothError]:
    """What is wrong with the names of a run and of what it teaches; a folder of photos may be called for its subject.

    So a noun that is not given is asked for when the photos have been looked at.
    """
    wrong = Problems()
    needs = _needs_subject(config.method)
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


def missing(name: str) -> UsageError:
    """What is told where a field of a run had to be given."""
    return UsageError(
        f"`{name}` is missing: {RunConfig.model_fields[name].description}.", code="field.missing", field=name
    )


def method_config(method: str, scale: str, settings: Mapping[str, Any]) -> MethodConfig:
    """The settings of a method on a base of this scale ("tiny" or "full"): its defaults, overlaid by `settings`.

    Raises one UsageError that tells all that is wrong.
    """
    kind = METHODS[method]
    schema: type[MethodConfig] = kind.Config
    wrong = Problems(_unknown(settings, list(schema.model_fields), f"the method {method}", "settings."))
    given = {key: _as_list(schema, key, value) for key, value in settings.items() if key in schema.model_fields}
    config = None
    try:
        config = schema(**(kind.defaults(scale) | given))
    except ValidationError as error:
        wrong += _in_plain_words(error, schema, "settings.")
    else:
        with wrong.noted("settings.options"):
            require_choices(config)
    wrong.tell()
    assert config is not None
    return config


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


def _put(values: dict[str, Any], key: str, value: Any) -> None:
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
    elif _field(key) in RunConfig.model_fields:
        values[_field(key)] = value
    else:
        values["settings"] = {**values.get("settings", {}), key: value}


def _field(key: str) -> str:
    """The field of a run that a key stands for."""
    return "noun" if key == CLASS else key


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
    return {_field(key): value for key, value in values.items()}


def _unknown(values: Mapping[str, Any], known: list[str], where: str, path: str = "") -> list[BoothError]:
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


def _as_list(schema: type[BaseModel], key: str, value: Any) -> Any:
    """Let `targets=attention,feed_forward` stand for a list where the schema wants one."""
    if isinstance(value, str) and "tuple" in str(schema.model_fields[key].annotation):
        return [part.strip() for part in value.split(",")]
    return value


def _in_plain_words(error: ValidationError, schema: type[BaseModel], path: str = "") -> list[BoothError]:
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
