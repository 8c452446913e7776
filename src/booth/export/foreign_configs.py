"""Configurations of other trainers as a `run.toml`: sd-scripts' TOML, and the command line of a diffusers script.

Every option is converted, or listed with what becomes of it; none is dropped in silence.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError

Place = str  # "run.KEY" or "settings.KEY"
Table = Mapping[str, tuple[Place, Callable[[Any], Any]]]


@dataclass
class Converted:
    """A run in booth's words, what has no equivalent there, and what the user should know."""

    trainer: str
    run: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    left: dict[str, Any] = field(default_factory=dict[str, Any])  # options without equivalent, with their values
    notes: list[str] = field(default_factory=list[str])

    def put(self, place: Place, value: Any) -> None:
        """Set one key."""
        table, _, key = place.partition(".")
        (self.run if table == "run" else self.settings)[key] = value

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


def _whole(value: Any) -> int:
    return int(float(value))


def _schedule(value: Any) -> str:
    names = {"constant_with_warmup": "constant", "cosine_with_restarts": "cosine"}
    return names.get(str(value), str(value))


def _optimizer(value: Any) -> str:
    return str(value).lower().replace("_", "")


def _precision(value: Any) -> str:
    return {"no": "fp32", "float": "fp32"}.get(str(value), str(value))


# What both kinds of trainer call by one name.
SHARED: Table = {
    "pretrained_model_name_or_path": ("run.base", str),
    "seed": ("run.seed", _whole),
    "mixed_precision": ("run.precision", _precision),
    "max_train_steps": ("settings.steps", _whole),
    "train_batch_size": ("settings.batch_size", _whole),
    "gradient_accumulation_steps": ("settings.accumulate", _whole),
    "gradient_checkpointing": ("settings.gradient_checkpointing", bool),
    "learning_rate": ("settings.learning_rate", float),
    "lr_scheduler": ("settings.schedule", _schedule),
    "lr_warmup_steps": ("settings.warmup", _whole),
    "max_grad_norm": ("settings.clip", float),
}
KOHYA: Table = {
    **SHARED,
    "train_data_dir": ("run.photos", lambda value: [str(value)]),
    "flip_aug": ("run.flip", bool),
    "enable_bucket": ("run.crop", lambda value: "buckets" if value else "center"),
    "save_every_n_steps": ("run.checkpoint_every", _whole),
    "sample_every_n_steps": ("run.previews", _whole),
    "min_snr_gamma": ("settings.min_snr_gamma", float),
    "unet_lr": ("settings.learning_rate", float),
    "optimizer_type": ("settings.optimizer", _optimizer),
}
DIFFUSERS: Table = {
    **SHARED,
    "instance_data_dir": ("run.photos", lambda value: [str(value)]),
    "train_data_dir": ("run.photos", lambda value: [str(value)]),
    "output_dir": ("run.out", str),
    "checkpointing_steps": ("run.checkpoint_every", _whole),
    "snr_gamma": ("settings.min_snr_gamma", float),
    "adam_weight_decay": ("settings.weight_decay", float),
    "num_class_images": ("settings.class_pictures", _whole),
    "train_text_encoder": ("settings.train_text_encoder", bool),
    "text_encoder_lr": ("settings.text_encoder_learning_rate", float),
    "rank": ("settings.rank", _whole),
    "lora_alpha": ("settings.alpha", float),
    "lora_dropout": ("settings.dropout", float),
    "num_vectors": ("settings.vectors", _whole),
    "initializer_token": ("settings.init_word", str),
}
SCHEDULES = {"constant", "cosine", "linear"}
OPTIMIZERS = {"adamw", "adamw8bit", "prodigy"}


def convert(text: str, name: str) -> Converted:
    """Read sd-scripts' TOML or a script's command line; BadDataError for what is neither.

    `name` is the file's, for messages.
    """
    if re.search(r"\btrain_\w+\.py\b|\btextual_inversion\w*\.py\b", text):
        return _from_diffusers(text, name)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadDataError(
            f"{name} is neither a TOML of sd-scripts nor the command line of a diffusers script: {error}."
        ) from error
    flat: dict[str, Any] = {}
    for key, value in values.items():  # sections are for people: sd-scripts reads the keys below them
        flat |= value if isinstance(value, dict) else {key: value}
    if not flat.keys() & (KOHYA.keys() | {"network_module", "datasets"}):
        raise BadDataError(f"{name} has no option of sd-scripts. Give its configuration, or a diffusers command.")
    return _from_kohya(flat)


def _from_kohya(values: dict[str, Any]) -> Converted:
    done = Converted("a configuration of sd-scripts")
    values = dict(values)
    module = str(values.pop("network_module", ""))
    word = values.pop("token_string", None)
    done.run["method"] = "lora" if module else "textual_inversion" if word else "dreambooth"
    if module == "networks.lora":
        _scale(done, _whole(values.pop("network_dim", 4)), float(values.pop("network_alpha", 1)))
        if values.get("network_dropout"):
            done.settings["dropout"] = float(values.pop("network_dropout"))
        _text_encoder(done, values)
    elif module:
        done.left["network_module"] = module
        done.notes.append(f"{module} is no plain LoRA; this is one in its place.")
    if word:
        done.run["token"] = str(word)
        done.settings |= {"vectors": _whole(values.pop("num_vectors_per_token", 1))}
        if "init_word" in values:
            done.settings["init_word"] = str(values.pop("init_word"))
    _datasets(done, values)
    done.settings["prior_weight"] = 0.0
    if "reg_data_dir" in values:
        done.settings["prior_weight"] = float(values.pop("prior_loss_weight", 1.0))
        done.notes.append("Class pictures are drawn from the base; those in reg_data_dir are not used.")
        done.left["reg_data_dir"] = values.pop("reg_data_dir")
    if {"output_dir", "output_name"} <= values.keys():
        done.run["out"] = str(Path(values.pop("output_dir")) / values.pop("output_name"))
    if values.get("unet_lr") and "learning_rate" in values:
        done.left["learning_rate"] = values.pop("learning_rate")  # each part has a rate of its own
    return _table(done, values, KOHYA)


def _scale(done: Converted, rank: int, alpha: float) -> None:
    """Keep rank and alpha, which keeps the rate; say what the rate would be at booth's own alpha, which is the rank."""
    if rank < 1 or alpha <= 0:
        raise BadDataError(f"Rank {rank} and alpha {alpha:g} in {done.trainer} make no sense. Correct them first.")
    done.settings |= {"rank": rank, "alpha": alpha}
    if alpha != rank:
        done.notes.append(
            f"alpha / rank is {alpha / rank:g} and is kept, so that the learning rates hold as they are. With booth's "
            f"own alpha, the rank, multiply them by {alpha / rank:g}."
        )


def _text_encoder(done: Converted, values: dict[str, Any]) -> None:
    """sd-scripts trains the text encoder unless told otherwise, and its rate is the common one unless given."""
    alone = bool(values.pop("network_train_unet_only", False))
    rate: Any = values.pop("text_encoder_lr", values.get("learning_rate"))
    rate = rate[0] if isinstance(rate, list) and rate else rate
    done.settings["train_text_encoder"] = not alone and rate not in (0, 0.0)
    if done.settings["train_text_encoder"] and rate is not None:
        done.settings["text_encoder_learning_rate"] = float(rate)


def _datasets(done: Converted, values: dict[str, Any]) -> None:
    """Photos and words of a dataset table; `num_repeats` changes nothing where steps are counted."""
    for dataset in values.pop("datasets", []):
        for subset in dataset.pop("subsets", []):
            done.run.setdefault("photos", []).append(str(subset.pop("image_dir", "photos")))
            token, _, noun = str(subset.pop("class_tokens", "")).strip().partition(" ")
            if noun:
                done.run |= {"token": token, "class": noun}
            done.left |= {f"subsets.{key}": value for key, value in subset.items()}
        done.left |= {f"datasets.{key}": value for key, value in dataset.items()}
    if "photos" in done.run and "train_data_dir" in values:
        done.left["train_data_dir"] = values.pop("train_data_dir")  # sd-scripts reads the datasets instead


def _from_diffusers(text: str, name: str) -> Converted:
    script, values = _flags(text, name)
    done = Converted(f"a command of diffusers' {script}")
    lora, word = "lora" in script, script.startswith("textual_inversion")
    done.run["method"] = "textual_inversion" if word else "lora" if lora else "dreambooth"
    if lora:
        rank = _whole(values.pop("rank", 4))
        _scale(done, rank, float(values.pop("lora_alpha", rank)))
    if word:
        done.run["token"] = str(values.pop("placeholder_token", "sks")).strip("<>")
        done.run["class"] = str(values.get("initializer_token", "object"))
    else:
        _prompts(done, str(values.pop("instance_prompt", "")), str(values.pop("class_prompt", "")))
    if values.pop("with_prior_preservation", False):
        done.settings["prior_weight"] = float(values.pop("prior_loss_weight", 1.0))
    elif not word:
        done.settings["prior_weight"] = 0.0
    if values.pop("use_8bit_adam", False):
        done.settings["optimizer"] = "adamw8bit"
    if values.pop("center_crop", False):
        done.run["crop"] = "center"
    if values.pop("scale_lr", False):
        times = _whole(values.get("train_batch_size", 4)) * _whole(values.get("gradient_accumulation_steps", 1))
        values["learning_rate"] = float(values.get("learning_rate", 1e-4)) * times
        done.notes.append(f"scale_lr: the learning rate is multiplied by the {times} photos of a step on one device.")
    return _table(done, values, DIFFUSERS)


def _prompts(done: Converted, instance: str, kind: str) -> None:
    """The token is what the instance prompt has and the class prompt lacks, the noun what follows it."""
    words, common = instance.split(), kind.split()
    own = [word for word in words if word not in common] if common else words[-2:-1]
    if not own or words[-1] == own[0]:
        done.notes.append(f"No token and noun were found in the prompt {instance!r}: set token and class.")
        return
    done.run |= {"token": own[0], "class": " ".join(words[words.index(own[0]) + 1 :])}


def _flags(text: str, name: str) -> tuple[str, dict[str, Any]]:
    """The script's name and its options; continued lines are joined, and $NAMES are filled in from `export` lines."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for variable, value in re.findall(r"^\s*export\s+(\w+)=[\"']?([^\"'\n]*)[\"']?\s*$", joined, re.MULTILINE):
        joined = re.sub(rf"\$\{{?{variable}\b\}}?", lambda _, value=value: value, joined)
    line = next(part for part in joined.splitlines() if re.search(r"(train_\w+|textual_inversion\w*)\.py\b", part))
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise BadDataError(f"{name} has a command whose quotes do not match. Correct it and try again.") from error
    place = next(i for i, word in enumerate(words) if re.fullmatch(r".*(train_\w+|textual_inversion\w*)\.py", word))
    precision = re.search(r"--mixed_precision[= ](\w+)", " ".join(words[:place]))  # accelerate's own option
    values: dict[str, Any] = {"mixed_precision": precision[1]} if precision else {}
    rest = words[place + 1 :]
    for i, word in enumerate(rest):
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            following = rest[i + 1] if i + 1 < len(rest) and not rest[i + 1].startswith("--") else None
            values[key] = value if equals else True if following is None else following
    return Path(words[place]).name, values


def _table(
    done: Converted, values: Mapping[str, Any], table: Mapping[str, tuple[Place, Callable[[Any], Any]]]
) -> Converted:
    """Convert what the table knows; the rest, and values that booth has not, have no equivalent."""
    for key, value in values.items():
        if key not in table:
            done.left[key] = value
            continue
        place, make = table[key]
        try:
            made = make(value)
        except (TypeError, ValueError) as error:
            raise BadDataError(f"{key} = {value!r} is no value that {done.trainer} takes.") from error
        known = {"settings.schedule": SCHEDULES, "settings.optimizer": OPTIMIZERS}.get(place)
        if known is not None and made not in known:
            done.left[key] = value
        else:
            done.put(place, made)
    return done


def _toml(value: Any) -> str:
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value!r}" if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)
