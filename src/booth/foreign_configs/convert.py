"""Configurations of other trainers as a `run.toml`: sd-scripts' TOML or command, its GUI's JSON, a diffusers command.

Every option is converted, or listed with what becomes of it; none is dropped in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from booth.core.errors import BadDataError, capitalised
from booth.core.reading import BrokenTomlError, parse_toml

Place = str  # "run.KEY" or "settings.KEY"
Table = Mapping[str, tuple[Place, Callable[[Any], Any]]]
SCHEDULES = {"constant", "cosine", "linear"}
OPTIMIZERS = {"adamw", "adamw8bit", "prodigy"}
# Options whose values nobody should find in a file that is kept and shared; modifier_token is a word of the prompts.
SECRET = re.compile(r"(?<!modifier_)token$|key$|secret|password", re.IGNORECASE)


@dataclass
class Converted:
    """A run in booth's words, what has no equivalent there, and what the user should know."""

    trainer: str
    run: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    left: dict[str, Any] = field(default_factory=dict[str, Any])  # options without equivalent, with their values
    notes: list[str] = field(default_factory=list[str])

    def put(self, place: Place, value: object) -> None:
        """Set one key."""
        table, _, key = place.partition(".")
        (self.run if table == "run" else self.settings)[key] = value

    def put_all(self, values: Mapping[str, object], table: Table, anyway: frozenset[str]) -> None:
        """Convert what the table knows and say what booth does `anyway`; the rest has no equivalent."""
        for key, value in values.items():
            if key in table:
                self._put_known(key, value, *table[key])
            elif key not in anyway:
                self.left[key] = value
        done = sorted(values.keys() & anyway)
        if done:
            self.notes.append(f"Booth decides by itself, with the same result: {', '.join(done)}.")

    def _put_known(self, key: str, value: Any, place: Place, make: Callable[[Any], Any]) -> None:
        try:
            made = make(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadDataError(
                f"{key} = {value!r} is no value that {self.trainer} takes.", code="config.wrong_value", field="file"
            ) from error
        known = {"settings.schedule": SCHEDULES, "settings.optimizer": OPTIMIZERS}.get(place)
        if made is None or (known is not None and made not in known):
            self.left[key] = value
        else:
            self.put(place, made)

    def warm_up(self, values: dict[str, Any]) -> None:
        """Take lr_warmup_steps as it acts there: not at all under a constant rate, below 1 as a part of all steps."""
        given = values.pop("lr_warmup_steps", 0)
        steps = float(given)
        if steps and values.get("lr_scheduler", "constant") == "constant":
            self.left["lr_warmup_steps"] = given
            self.notes.append("lr_warmup_steps does nothing there under the schedule constant, and is left out.")
        elif 0 < steps < 1 and "max_train_steps" not in values:
            self.left["lr_warmup_steps"] = given
            self.notes.append("lr_warmup_steps is a part of all steps there: set warmup to as many of them.")
        elif steps:
            self.settings["warmup"] = int(steps * whole(values["max_train_steps"]) if steps < 1 else steps)

    def hide_secrets(self) -> None:
        """Keep the values of passwords and access tokens out of whatever is written or shown."""
        self.left = {name: "(hidden)" if SECRET.search(name) else value for name, value in self.left.items()}

    def scale(self, rank: int, alpha: float) -> None:
        """Keep rank and alpha, which keeps the rate; say what the rate would be at booth's own alpha, the rank."""
        if rank < 1 or alpha <= 0:
            raise BadDataError(
                f"Rank {rank} and alpha {alpha:g} in {self.trainer} make no sense.",
                "Correct them first.",
                code="config.rank",
                field="file",
            )
        self.settings |= {"rank": rank, "alpha": alpha}
        if alpha != rank:
            self.notes.append(
                f"alpha / rank is {alpha / rank:g} and is kept, so that the learning rates hold as they are. With "
                f"booth's own alpha, the rank, multiply them by {alpha / rank:g}."
            )

    def to_toml(self) -> str:
        """The file that `booth train --config` reads."""
        lines = [
            f"# Converted from {self.trainer}. What it leaves out takes booth's defaults.",
            *(f"# {note}" for note in self.notes),
        ]
        lines += [f"# no equivalent: {name} = {_toml(value)}" for name, value in self.left.items()]
        lines += [f"{key} = {_toml(value)}" for key, value in self.run.items()]
        lines += ["", "[settings]", *(f"{key} = {_toml(value)}" for key, value in self.settings.items())]
        return "\n".join(lines) + "\n"


def whole(value: Any) -> int:
    """A whole number, however it was written."""
    return int(float(value))


def truth(value: object) -> bool:
    """Yes or no, however it was written: in quotes too, or as 0 and 1."""
    if isinstance(value, str):
        if value.strip().lower() in {"true", "yes", "on", "1"}:
            return True
        if value.strip().lower() in {"false", "no", "off", "0", "", "none"}:
            return False
        raise ValueError(value)
    return bool(value)


def side(value: object) -> int | None:
    """The side of a square; None for another shape."""
    sides = {whole(part) for part in (value if isinstance(value, list) else str(value).split(","))}
    return sides.pop() if len(sides) == 1 else None


def _schedule(value: Any) -> str:
    names = {"constant_with_warmup": "constant", "cosine_with_restarts": "cosine"}
    return names.get(str(value), str(value))


def _precision(value: Any) -> str:
    return {"no": "fp32", "float": "fp32"}.get(str(value), str(value))


# What both kinds of trainer call by one name.
SHARED: Table = {
    "pretrained_model_name_or_path": ("run.base", str),
    "seed": ("run.seed", whole),
    "mixed_precision": ("run.precision", _precision),
    "resolution": ("run.resolution", side),
    "train_data_dir": ("run.photos", lambda value: [str(value)]),
    "max_train_steps": ("settings.steps", whole),
    "train_batch_size": ("settings.batch_size", whole),
    "gradient_accumulation_steps": ("settings.accumulate", whole),
    "gradient_checkpointing": ("settings.gradient_checkpointing", truth),
    "learning_rate": ("settings.learning_rate", float),
    "lr_scheduler": ("settings.schedule", _schedule),
    "max_grad_norm": ("settings.clip", float),
}


def convert(text: str, name: str) -> Converted:
    """Read sd-scripts' TOML, kohya_ss' JSON or a script's command line; BadDataError for what is none of them.

    `name` is the file's, for messages.
    """
    try:
        done = _read(text, name)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        told = "" if isinstance(error, AttributeError) else f": {error}"  # which speaks of Python and not of the file
        raise BadDataError(
            f"{name} has a value of another kind than its trainer takes{told}.",
            "Correct it.",
            code="config.wrong_kind",
            field="file",
        ) from error
    done.hide_secrets()
    return done


def _read(text: str, name: str) -> Converted:
    from booth.foreign_configs import diffusers_command, kohya_gui, others
    from booth.foreign_configs import sd_scripts as sd_scripts_config

    others.require_known(text, name)
    if (values := kohya_gui.read(text)) is not None:
        return sd_scripts_config.read(values, name)
    try:
        values = parse_toml(text)
    except BrokenTomlError as error:  # as every command is
        done = diffusers_command.read(text, name)
        if done is None:
            raise BadDataError(
                f"{name} is neither a TOML of sd-scripts nor the command line of a diffusers script: it "
                f"{error.sentence}.",
                f"{capitalised(error.advice)}.",
                code="config.unrecognised",
                field="file",
            ) from error
        return done
    except BadDataError as error:
        raise error.about(name, field="file") from error
    return sd_scripts_config.read(values, name)


def _toml(value: Any) -> str:
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value!r}" if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)
