"""The TOML of kohya's sd-scripts as a run of booth's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.foreign_configs.convert import SHARED, Converted, Table, truth, whole


def _optimizer(value: Any) -> str:
    return str(value).lower().replace("_", "")


KOHYA: Table = {
    **SHARED,
    "flip_aug": ("run.flip", truth),
    "random_crop": ("run.crop", lambda value: "random" if truth(value) else None),
    "enable_bucket": ("run.crop", lambda value: "buckets" if truth(value) else "center"),
    "shuffle_caption": ("run.shuffle_tags", truth),
    "keep_tokens": ("run.keep_tags", whole),
    "batch_size": ("settings.batch_size", whole),
    "save_every_n_steps": ("run.checkpoint_every", whole),
    "sample_every_n_steps": ("run.previews", whole),
    "min_snr_gamma": ("settings.min_snr_gamma", float),
    "caption_dropout_rate": ("settings.caption_dropout", float),
    "unet_lr": ("settings.learning_rate", float),
    "optimizer_type": ("settings.optimizer", _optimizer),
    "loss_type": ("settings.loss", lambda value: {"l2": "mse", "huber": "huber"}.get(str(value))),
}
# Keys of which a configuration has at least one; the others are of other trainers too.
OWN = {
    "pretrained_model_name_or_path", "train_data_dir", "network_module", "datasets", "dataset_config", "token_string",
    "output_name", "max_train_steps", "max_train_epochs", "train_batch_size", "learning_rate", "seed",
}  # fmt: skip
# Booth holds latents and prompts whenever nothing before them is trained, and writes nothing but safetensors.
ANYWAY = frozenset({
    "cache_latents", "cache_latents_to_disk", "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk",
    "vae_batch_size", "xformers", "sdpa", "mem_eff_attn", "max_data_loader_n_workers",
    "persistent_data_loader_workers", "no_half_vae", "lowram",
})  # fmt: skip
# Values that are booth's too.
ONLY = {"save_model_as": {"safetensors"}, "caption_extension": {".txt", ".caption", ".tags", "txt", "caption", "tags"}}
KNOWN = KOHYA.keys() | ANYWAY | ONLY.keys()
# What a file of datasets alone may hold, which says nothing of how they are learned.
DATASET_FILE = {
    "datasets", "resolution", "caption_extension", "batch_size", "enable_bucket", "shuffle_caption", "keep_tokens",
    "flip_aug", "random_crop", "num_repeats", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso",
    "bucket_reso_steps", "caption_dropout_rate", "color_aug", "face_crop_aug_range", "video_length",
}  # fmt: skip
# kohya's LoRA, and musubi-tuner's for other families; LoRA-FA trains one factor alone.
LORA = re.compile(r"networks\.lora(_(?!fa$)\w+)?")
# LyCORIS's algorithms that booth has.
LYCORIS = {"lora": "lora", "locon": "locon", "loha": "loha", "lokr": "lokr", "ia3": "ia3", "boft": "boft",
           "full": "dreambooth"}  # fmt: skip
RANKED = {"lora", "locon", "dora", "loha", "lokr"}


def read(values: Mapping[str, object], name: str) -> Converted:
    """Convert a configuration; BadDataError for one that has no option of sd-scripts."""
    flat: dict[str, Any] = {}
    for key, value in values.items():  # sections are for people: sd-scripts reads the keys below them
        flat |= value if isinstance(value, dict) else {key: value}
    if not flat.keys() & OWN:
        raise BadDataError(
            f"{name} has no option of sd-scripts.",
            "Give its configuration, or a diffusers command.",
            code="config.no_option",
            field="file",
        )
    done = Converted("a configuration of sd-scripts")
    word = flat.pop("token_string", None)
    if "network_module" in flat:
        _network(done, flat)
    elif word:
        done.run |= {"method": "textual_inversion", "token": str(word)}
        done.settings["vectors"] = whole(flat.pop("num_vectors_per_token", 1))
        if "init_word" in flat:
            done.settings["init_word"] = str(flat.pop("init_word"))
    elif flat.keys() <= DATASET_FILE:
        done.run["method"] = "lora"
        done.notes.append("The file tells of photos and of no method: booth's default is taken, a LoRA.")
    else:
        done.run["method"] = "dreambooth"
        # It trains the text encoder unless told not to.
        done.settings["train_text_encoder"] = whole(flat.get("stop_text_encoder_training", 0)) >= 0
        if not done.settings["train_text_encoder"]:
            flat.pop("stop_text_encoder_training")
    classes = _datasets(done, flat)
    if "reg_data_dir" in flat:
        classes.append(str(flat.pop("reg_data_dir")))
    done.settings["prior_weight"] = 0.0
    if classes:
        done.settings["prior_weight"] = float(flat.pop("prior_loss_weight", 1.0))
        done.notes.append(f"Class pictures are drawn from the base; those in {', '.join(classes)} are not used.")
    elif "prior_loss_weight" in flat:
        flat.pop("prior_loss_weight")
        done.notes.append("prior_loss_weight does nothing there without reg_data_dir or a subset with is_reg.")
    if {"output_dir", "output_name"} <= flat.keys():
        done.run["out"] = str(Path(flat.pop("output_dir")) / flat.pop("output_name"))
    if float(flat.get("unet_lr") or 0) and "learning_rate" in flat:
        flat.pop("learning_rate")
        done.notes.append("unet_lr stands before learning_rate there, and here too.")
    if "max_train_epochs" in flat:
        done.notes.append("Booth counts steps, not epochs: set steps to epochs * photos * repeats / batch_size.")
    for key, same in ONLY.items():
        if flat.get(key) in same:
            flat.pop(key)
    done.warm_up(flat)
    done.put_all(flat, KOHYA, ANYWAY)
    return done


def _network(done: Converted, values: dict[str, Any]) -> None:
    """Which adapter it is: kohya's LoRA with or without convolutions, or one of LyCORIS's."""
    module = str(values.pop("network_module"))
    told = values.pop("network_args", None) or []
    given = [str(each).partition("=") for each in (told.split() if isinstance(told, str) else told)]
    arguments = {key.strip(): value.strip() for key, _, value in given}
    done.run["method"] = "lora"
    algorithm = arguments.get("algo", "lora").lower()
    if module == "lycoris.kohya" and algorithm in LYCORIS:
        arguments.pop("algo", None)
        done.run["method"] = LYCORIS[algorithm]
    elif LORA.fullmatch(module) is None:
        done.left["network_module"] = module
        what = f"{algorithm} of {module}" if "algo" in arguments else module
        done.notes.append(f"{what} is not an adapter that booth has; this is a plain LoRA in its place.")
    if arguments.get("dora_wd", "").lower() == "true" and done.run["method"] in {"lora", "locon"}:
        arguments.pop("dora_wd")
        done.run["method"] = "dora"
    if "conv_dim" in arguments and done.run["method"] in {"lora", "locon"}:
        done.run["method"] = "locon"
        done.settings["conv_rank"] = whole(arguments.pop("conv_dim"))
    if "factor" in arguments and done.run["method"] == "lokr":
        done.settings["factor"] = whole(arguments.pop("factor"))
    done.left |= {f"network_args.{key}": value for key, value in arguments.items()}
    if "network_weights" in values:
        done.run["start_from"] = str(values.pop("network_weights"))
    rank, alpha = whole(values.pop("network_dim", 4)), float(values.pop("network_alpha", 1))
    if done.run["method"] not in RANKED:
        done.notes.append(
            f"{done.run['method']} has no rank and no alpha here; network_dim and network_alpha are left."
        )
    elif values.pop("dim_from_weights", False) and "start_from" in done.run:
        done.notes.append("Rank and alpha are those of the file that training starts from.")
    elif done.run["method"] == "lokr" and 2 * rank >= _largest_block(done.settings.get("factor", -1)):
        done.settings["rank"] = rank
        done.notes.append(f"Rank {rank} keeps LoKr's blocks whole, where alpha does nothing there; it is left unset.")
    else:
        done.scale(rank, alpha)
        if done.run["method"] == "lokr" and alpha != rank:
            done.notes.append("Blocks that the rank keeps whole are scaled by alpha / rank here, and not there.")
    if values.get("network_dropout") and done.run["method"] in {"lora", "locon", "dora"}:
        done.settings["dropout"] = float(values.pop("network_dropout"))
    _text_encoder(done, values)


def _largest_block(factor: int) -> int:
    """A side that no block of LoKr exceeds on any base; half of it as a rank keeps all blocks whole.

    The widest layer is one of FLUX.1. Every layer has a divisor of at least half the factor, or of half its root.
    """
    widest = 21_504
    return 2 * max(widest // factor if factor > 0 else 0, math.isqrt(widest))


def _text_encoder(done: Converted, values: dict[str, Any]) -> None:
    """sd-scripts trains the text encoder unless told otherwise, and its rate is the common one unless given."""
    alone = truth(values.pop("network_train_unet_only", False))
    rate: Any = values.pop("text_encoder_lr", values.get("learning_rate"))
    rate = rate[0] if isinstance(rate, list) and rate else rate
    done.settings["train_text_encoder"] = not alone and (rate is None or float(rate) != 0)
    if done.settings["train_text_encoder"] and rate is not None:
        done.settings["text_encoder_learning_rate"] = float(rate)


def _datasets(done: Converted, values: dict[str, Any]) -> list[str]:
    """Photos, words and options of dataset tables; returns the folders of class pictures.

    Options of a subset stand before its dataset's, and those before the common ones, as sd-scripts has it. Booth
    has one value for all photos. `num_repeats` changes nothing where steps are counted.
    """
    own: dict[str, Any] = {}
    classes: list[str] = []
    for dataset in values.pop("datasets", []):
        taught: list[dict[str, Any]] = []
        if "image_directory" in dataset:  # musubi-tuner, which has no subsets
            _photos(done, str(dataset.pop("image_directory")))
            dataset.pop("num_repeats", None)
        for subset in dataset.pop("subsets", []):
            if truth(subset.get("is_reg")):
                classes.append(str(subset.get("image_dir", "")))
                continue
            subset.pop("is_reg", None)
            _photos(done, str(subset.pop("image_dir", "photos")))
            _words(done, str(subset.pop("class_tokens", "")).strip())
            taught.append(subset)
        for subset in taught or [{}]:
            for key, value in (dataset | subset).items():
                if key not in KNOWN or own.setdefault(key, value) != value:
                    done.left[f"{'subsets' if key in subset else 'datasets'}.{key}"] = value
    values |= own
    if "photos" in done.run:  # sd-scripts reads the datasets instead
        done.left |= {key: values.pop(key) for key in ("train_data_dir", "reg_data_dir") if key in values}
    return classes


def _photos(done: Converted, folder: str) -> None:
    """Add a folder of photos; datasets that differ in their resolution name it again."""
    if folder not in done.run.setdefault("photos", []):
        done.run["photos"].append(folder)


def _words(done: Converted, words: str) -> None:
    """Token and class noun of a subset; a run of booth's has those of the first, unless it is told of others."""
    token, _, noun = words.partition(" ")
    if noun and "token" not in done.run:
        done.run |= {"token": token, "class": noun}
    elif words and words != f"{done.run.get('token')} {done.run.get('class')}":
        done.left["subsets.class_tokens"] = words
