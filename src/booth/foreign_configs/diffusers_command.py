"""The command line of one of diffusers' training scripts, or of sd-scripts', as a run of booth's."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.foreign_configs import sd_scripts
from booth.foreign_configs.convert import SHARED, Converted, Table, truth, whole

SD_SCRIPTS = (
    r"(\w+_)?train_network|train_db|(sdxl_)?train_textual_inversion|(sdxl|flux|sd3|lumina|anima)_train|fine_tune"
)
SCRIPT = rf"\b(train_\w+|textual_inversion\w*|{SD_SCRIPTS})\.py\b"
BETWEEN = ";&|"  # commands on one line
# NAME=value in a shell, in Windows' prompt, in PowerShell and in a notebook.
ASSIGNED = r"^\s*(?:export\s+|set\s+|%env\s+|\$env:)?([A-Za-z_]\w*)\s*=\s*[\"']?([^\"'\n]*?)[\"']?\s*$"
Command = tuple[str, dict[str, Any], list[str]]  # the script, its options, names that are not told
ARTICLES = {"a", "an", "the", "my"}
# Words that are neither a token nor part of a noun.
LITTLE = ARTICLES | {"of", "in", "on", "at", "by", "with", "and", "for", "from", "near", "under", "photo", "style"}
# What a script's name says, the first that fits.
METHODS = (
    (r"textual_inversion", "textual_inversion"),
    (r"train_custom_diffusion", "custom_diffusion"),
    (r"train_controlnet", "controlnet"),
    (r"train_(dreambooth|text_to_image)_lora", "lora"),
    (r"train_(dreambooth|text_to_image)", "dreambooth"),
)
DIFFUSERS: Table = {
    **SHARED,
    "instance_data_dir": ("run.photos", lambda value: [str(value)]),
    "output_dir": ("run.out", str),
    "checkpointing_steps": ("run.checkpoint_every", whole),
    "random_flip": ("run.flip", truth),
    "snr_gamma": ("settings.min_snr_gamma", float),
    "adam_weight_decay": ("settings.weight_decay", float),
    "num_class_images": ("settings.class_pictures", whole),
    "train_text_encoder": ("settings.train_text_encoder", truth),
    "text_encoder_lr": ("settings.text_encoder_learning_rate", float),
    "lora_dropout": ("settings.dropout", float),
    "num_vectors": ("settings.vectors", whole),
    "initializer_token": ("settings.init_word", lambda value: str(value).partition("+")[0]),
    "controlnet_model_name_or_path": ("run.start_from", str),
    "proportion_empty_prompts": ("settings.caption_dropout", float),
}
# Booth holds latents and prompts whenever nothing before them is trained, and draws previews only where asked to.
ANYWAY = frozenset({
    "cache_latents", "pre_compute_text_embeddings", "enable_xformers_memory_efficient_attention",
    "dataloader_num_workers", "set_grads_to_none", "allow_tf32", "use_safetensors",
})  # fmt: skip


def read(text: str, name: str) -> Converted | None:
    """Convert a command, None where there is none; BadDataError for a script whose method booth does not have."""
    found = _flags(text, name)
    if found is None:
        return None
    script, values, unknown = found
    done = sd_scripts.read(values, name) if re.fullmatch(rf"({SD_SCRIPTS})\.py", script) else _of_diffusers(found, name)
    if unknown:
        done.notes.append(f"The file does not say what {', '.join(unknown)} stands for: correct what holds it.")
    return done


def _of_diffusers(found: Command, name: str) -> Converted:
    script, values, _ = found
    done = Converted(f"a command of diffusers' {script}")
    method = next((method for pattern, method in METHODS if re.match(pattern, script)), None)
    if method is None:
        raise BadDataError(
            f"{name} runs {script}, whose method booth does not have.",
            "It reads the commands of textual_inversion.py, "
            "train_dreambooth.py, train_dreambooth_lora.py, train_custom_diffusion.py, train_controlnet.py and kin.",
            code="config.unknown_script",
            field="file",
        )
    done.run["method"] = method
    if method == "lora":
        rank = whole(values.pop("rank", 4))
        done.scale(rank, float(values.pop("lora_alpha", rank)))
        if values.pop("use_dora", False):
            done.run["method"] = "dora"
    if method == "textual_inversion":
        done.run["token"] = str(values.pop("placeholder_token", "sks")).strip("<>")
        done.run["class"] = str(values.get("initializer_token", "object"))
    elif method == "controlnet":
        done.notes.append("The script does not say what its hints show: set control, such as canny.")
    else:
        _prompts(done, str(values.pop("instance_prompt", "")), str(values.pop("class_prompt", "")))
        if str(values.get("modifier_token", "")).strip("<>") == done.run.get("token"):
            values.pop("modifier_token")
        # The method's own default is not the script's, which has no prior preservation unless asked for it.
        kept = values.pop("with_prior_preservation", False)
        weight = float(values.pop("prior_loss_weight", 1.0))
        done.settings["prior_weight"] = weight if kept else 0.0
    if values.pop("use_8bit_adam", False):
        done.settings["optimizer"] = "adamw8bit"
    if values.pop("center_crop", False):
        done.run["crop"] = "center"
    if values.pop("scale_lr", False):
        times = whole(values.get("train_batch_size", 4)) * whole(values.get("gradient_accumulation_steps", 1))
        values["learning_rate"] = float(values.get("learning_rate", 1e-4)) * times
        done.notes.append(f"scale_lr: the learning rate is multiplied by the {times} photos of a step on one device.")
    done.warm_up(values)
    done.put_all(values, DIFFUSERS, ANYWAY)
    return done


def _prompts(done: Converted, instance: str, kind: str) -> None:
    """Token and noun of the instance prompt: what the class prompt shows to be them, or what a photo is "of"."""
    found = _compared(instance.split(), kind.split()) if kind else _ending(instance.split())
    if found is None:
        done.notes.append(f"No token and noun were found in the prompt {instance!r}: set token and class.")
    else:
        done.run |= {"token": found[0].strip("<>"), "class": found[1]}


def _compared(words: list[str], common: list[str]) -> tuple[str, str] | None:
    """The token is the last word that the class prompt lacks, the noun what follows it up to a place or the like."""
    own = max((i for i, word in enumerate(words) if word not in common), default=-1)
    noun = list(takewhile(lambda word: word.lower() not in LITTLE, words[own + 1 :]))
    return (words[own], " ".join(noun)) if own >= 0 and noun and words[own].lower() not in LITTLE else None


def _ending(words: list[str]) -> tuple[str, str] | None:
    """TOKEN NOUN, where nothing else follows "of" or "of a"; any other prompt leaves open which word is which."""
    places = [i for i, word in enumerate(words) if word.lower() == "of"]
    rest = words[places[-1] + 1 :] if places else []
    rest = rest[1:] if rest and rest[0].lower() in ARTICLES else rest
    return (rest[0], rest[1]) if len(rest) == 2 and not {word.lower() for word in rest} & LITTLE else None


def _flags(text: str, name: str) -> Command | None:
    """The script's name, its options and the names in them that nothing is told for.

    Continued lines are joined, as a shell, PowerShell and Windows' prompt have them, and $NAMES and %NAMES% filled in.
    """
    joined = re.sub(r"[\\`^][ \t]*\r?\n", " ", re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE))
    for variable, value in re.findall(ASSIGNED, joined, re.MULTILINE):
        name_of = rf"\$(?:env:)?\{{?{variable}\b\}}?|%{variable}%"
        joined = re.sub(name_of, lambda _, value=value: value, joined)
    line = next((part for part in joined.splitlines() if re.search(SCRIPT, part)), "")
    try:
        words = _words(line)
    except ValueError as error:
        raise BadDataError(
            f"{name} has a command whose quotes do not match.",
            "Correct it and try again.",
            code="config.quotes",
            field="file",
        ) from error
    place = next((i for i, word in enumerate(words) if re.fullmatch(rf"(.*[/\\])?{SCRIPT}", word)), None)
    if place is None:
        return None
    precision = re.search(r"--mixed_precision[= ](\w+)", " ".join(words[:place]))  # accelerate's own option
    values: dict[str, Any] = {"mixed_precision": precision[1]} if precision else {}
    rest = list(takewhile(lambda word: not set(word) <= set(BETWEEN), words[place + 1 :]))
    for i, word in enumerate(rest):
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            following = list(takewhile(lambda word: not word.startswith("--"), rest[i + 1 :]))
            given = [value, *following] if equals else following
            values[key] = (given[0] if len(given) == 1 else given) if given else True
    unknown = re.findall(r"\$(?:env:)?\{?[A-Za-z_]\w*\}?|%[A-Za-z_]\w*%", " ".join(rest))
    return Path(words[place]).name, values, sorted(set(unknown))


def _words(line: str) -> list[str]:
    """The words of a line as a shell has them, with what stands between two commands as words of their own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=BETWEEN)
    lexer.whitespace_split = True
    return list(lexer)
