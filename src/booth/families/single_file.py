"""Single-file checkpoints: what they are by their keys, and the diffusers folder that is made of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from booth.core.commit import committed, verify
from booth.core.errors import BadDataError, DamagedFileError, NotAvailableError, UnsafeFileError
from booth.families.checkpoint_kinds import DENOISER, KINDS, STABLE_DIFFUSION_2, Kind
from booth.families.files import UNWANTED, base_files, require_whole
from booth.families.layout import DiffusersFamily
from booth.families.recognition import SOURCE, recognise
from booth.registry import FAMILIES

FIRST = f"{DENOISER}input_blocks.0.0.weight"
# By the spread of this one, versions 2.x that predict velocity are told from those that predict noise.
TELLING = f"{DENOISER}output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09
INPAINTING = 9  # channels in
SCHEDULER, UNET = "scheduler/scheduler_config.json", "unet/config.json"
TRANSFORMER = "transformer"
# What stands beside weights of 8 or 4 bits, without which these mean nothing: ComfyUI's, bitsandbytes', Nunchaku's.
SCALES = (".scale_weight", ".weight_scale", ".comfy_quant", ".quant_map", ".absmax", ".wscales", "scaled_fp8")
COMPANY = ("text_encoders.", "conditioner.", "cond_stage_model.", "vae.", "first_stage_model.")
KLEIN = {3072: "black-forest-labs/FLUX.2-klein-base-4B", 4096: "black-forest-labs/FLUX.2-klein-base-9B"}


def unpacked(file: Path, cache: Path) -> Path:
    """The diffusers folder made of a checkpoint, kept under `cache` by the file's hash.

    Raises UnsafeFileError for a file that is not safetensors, BadDataError for one that is no base that booth knows,
    and NotAvailableError if configuration, tokenizers or text encoders that the file lacks are not on this machine.
    """
    kind = identify(file)
    with file.open("rb") as stream:
        content_hash = hashlib.file_digest(stream, "sha256").hexdigest()
    folder = cache / content_hash[:16]
    corrected = corrections(file, kind)
    if folder.is_dir():
        try:
            verify(folder)
            if all(_values(folder / name).items() >= values.items() for name, values in corrected.items()):
                return folder
        except DamagedFileError:
            pass  # it is made again
    reference = _reference(file, kind)
    pipeline = cast(type[DiffusersFamily], FAMILIES[kind.family or ""]).Pipeline
    how: dict[str, Any] = {"config": str(reference), "local_files_only": True, "torch_dtype": _dtype(file)}
    try:
        if kind.alone:
            pipe: Any = _transformer(file, kind, reference)
        else:
            # The configuration is that of the ordinary base.
            unet: Any = {"unet": _inpainting_unet(file, how)} if _inputs(file) == INPAINTING else {}
            pipe = pipeline.from_single_file(str(file), **how, **unet)
    except (SingleFileComponentError, OSError) as error:
        raise NotAvailableError(
            f"{file.name} lacks a part that {reference} does not have either: {str(error).splitlines()[0]}",
            "Point `base` at a diffusers folder instead, or complete that folder.",
            code="base.part_missing",
            field="base",
        ) from error
    except (KeyError, ValueError, RuntimeError) as error:  # a tensor that is missing or has another shape
        raise BadDataError(
            f"{file} is {kind.title} by its keys but does not fit {reference}: {str(error).splitlines()[0]}",
            "Get the file again, or another folder with its configuration.",
            code="base.unfit",
            field="base",
        ) from error
    beside = [f for f in base_files(reference) if kind.alone and f.relative_to(reference).parts[0] != TRANSFORMER]
    needed = sum(each.stat().st_size for each in (file, *beside))
    with committed(folder, {"kind": "base"}, needed=needed) as work:
        for each in beside:
            place = work / each.relative_to(reference)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each, place)
        pipe.save_pretrained(work / TRANSFORMER if kind.alone else work, safe_serialization=True)
        if kind.alone:
            require_whole(work, FAMILIES[kind.family or ""])
        index = json.loads((work / "model_index.json").read_bytes())
        index["_class_name"] = json.loads((reference / "model_index.json").read_bytes())["_class_name"]
        (work / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        for name, values in corrected.items():
            (work / name).write_text(json.dumps(_values(work / name) | values, indent=2) + "\n", encoding="utf-8")
        source = {"file": file.name, "hash": f"sha256:{content_hash}"}
        (work / SOURCE).write_text(json.dumps(source) + "\n", encoding="utf-8")
    return folder


def identify(file: Path) -> Kind:
    """What kind of base a checkpoint is, by the names and shapes in its header; no weights are read."""
    try:
        with safe_open(file, "pt") as opened:
            keys = sorted(opened.keys())
        kind = next((k for k in KINDS if _any(keys, k.begins)), None)
    except SafetensorError as error:
        raise UnsafeFileError(
            f"{file} is not a whole .safetensors file ({error}).",
            "Get it again; booth opens no pickled checkpoints.",
            code="file.not_safetensors",
            field="base",
        ) from error
    if kind is None:
        raise BadDataError(
            f"{file} holds no base that booth knows: its keys are {', '.join(keys[:3])} and so on.",
            code="base.unrecognised",
            field="base",
        )
    if kind.family is None:
        raise BadDataError(f"{file} is {kind.title}.", kind.advice, code="base.unknown_family", field="base")
    if any(key.endswith(SCALES) for key in keys):
        raise BadDataError(
            f"{file} is {kind.title} in 8 or 4 bits with scales beside the weights, which are not read.",
            "Get it in 16 bits; a memory plan holds it in fewer.",
            code="base.quantised",
            field="base",
        )
    if kind.alone and _any(keys, COMPANY):
        raise BadDataError(
            f"{file} is {kind.title} with text encoders or an autoencoder in one file, which nothing takes apart.",
            "Get the transformer's own file, or point `base` at a folder in diffusers' layout.",
            code="base.all_in_one",
            field="base",
        )
    if kind.family == "flux_2" and not any("guidance_in." in key for key in keys):
        kind = _klein(file, kind, keys)
    if (inputs := _inputs(file)) not in (4, INPAINTING):
        raise BadDataError(
            f"{file} is {kind.title} for editing, with {inputs} channels in, not 4 or {INPAINTING}.",
            code="base.for_editing",
            field="base",
        )
    return kind


def corrections(file: Path, kind: Kind) -> dict[str, dict[str, object]]:
    """What the reference's configuration says otherwise than the file, by where that stands.

    Bases that predict velocity have marks among their keys or, of versions 2.x, another spread in one tensor: rules of
    ComfyUI's comfy/supported_models.py. A folder of the user's own beside a 2.x is believed. Zero terminal SNR needs
    the last timestep to be drawn (Lin et al., 2305.08891).
    """
    with safe_open(file, "pt") as opened:
        keys = set(opened.keys())
        telling = opened.get_tensor(TELLING).float() if TELLING in keys else torch.zeros(1)
    if "v_pred" in keys:
        zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in keys else {}
        return {SCHEDULER: {"prediction_type": "v_prediction", **zero}}
    if kind is not STABLE_DIFFUSION_2 or _beside(file) is not None:
        return {}
    if _inputs(file) == 4 and telling.std(correction=0) > SPREAD:
        return {SCHEDULER: {"prediction_type": "v_prediction"}}
    return {SCHEDULER: {"prediction_type": "epsilon"}, UNET: {"sample_size": 64}}


def _inputs(file: Path) -> int:
    """How many channels the denoiser is told; 4 if it is no U-Net of the authors' own naming."""
    with safe_open(file, "pt") as opened:
        return opened.get_slice(FIRST).get_shape()[1] if FIRST in set(opened.keys()) else 4


def _klein(file: Path, kind: Kind, keys: list[str]) -> Kind:
    """FLUX.2 that is told no guidance is klein, of which there are two widths."""
    name = next(key for key in keys if key.endswith("single_stream_modulation.lin.weight"))
    with safe_open(file, "pt") as opened:
        width = opened.get_slice(name).get_shape()[-1]
    return replace(kind, title="FLUX.2 klein", family="flux_2_klein", reference=KLEIN.get(width, KLEIN[3072]))


def _transformer(file: Path, kind: Kind, reference: Path) -> Any:
    """The transformer of a file that holds nothing else, its names changed by diffusers' own converter.

    Every tensor of either side has to be on the other, which diffusers' own loading does not ask for. It is only good
    for saving: what is no weight is on the meta device.
    """
    network: Any = cast(type[DiffusersFamily], FAMILIES[kind.family or ""]).denoiser[1]
    config, dtype = _values(reference / TRANSFORMER / "config.json"), _dtype(file)
    held = {name.removeprefix(DENOISER): t.to(dtype) for name, t in load_file(file).items()}
    converted = SINGLE_FILE_LOADABLE_CLASSES[network.__name__]["checkpoint_mapping_fn"](checkpoint=held, config=config)
    with torch.device("meta"):
        made = network.from_config(config)
    made.load_state_dict(converted, strict=True, assign=True)
    return made


def _inpainting_unet(file: Path, how: dict[str, Any]) -> UNet2DConditionModel:
    """The denoiser, which is also told a mask and the masked picture."""
    return UNet2DConditionModel.from_single_file(str(file), subfolder="unet", in_channels=INPAINTING, **how)


def _values(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())


def _any(keys: Iterable[str], begins: tuple[str, ...]) -> bool:
    return any(key.startswith(begins) for key in keys)


def _beside(file: Path) -> Path | None:
    """The user's own folder with the configuration of a checkpoint, which has its name."""
    folder = file.with_suffix("")
    return folder if (folder / "model_index.json").is_file() else None


def _reference(file: Path, kind: Kind) -> Path:
    """The folder with configuration and tokenizers: one of the checkpoint's name beside it, or the Hub's."""
    if (beside := _beside(file)) is not None:
        if recognise(beside) != kind.family:
            raise BadDataError(
                f"{file} is {kind.title}, but {beside} is {recognise(beside)}.",
                "Correct that folder.",
                code="base.unlike_its_folder",
                field="base",
            )
        return beside
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["model_index.json", "*/*.json", "tokenizer*/*"]
    if kind.alone:
        wanted += ["*/*.txt", "*/*.model", "*/*.safetensors"]
    if kind.family == "flux":
        wanted += ["text_encoder*/*.safetensors", "vae/*.safetensors"]  # its files hold the transformer alone
    try:
        ignored = [*UNWANTED, *([f"{TRANSFORMER}/*.safetensors"] if kind.alone else [])]
        found = snapshot_download(kind.reference, allow_patterns=wanted, ignore_patterns=ignored)
        return Path(found)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise NotAvailableError(
            f"{file.name} is {kind.title} and needs the configuration and tokenizers of {kind.reference}, which could "
            f"not be had ({type(error).__name__}).",
            f"Connect once, or put such a diffusers folder at {file.with_suffix('')}.",
            code="base.reference_missing",
            field="base",
        ) from error


def _dtype(file: Path) -> torch.dtype:
    """The precision that most of a checkpoint is in, so that the folder is no larger than the file."""
    with safe_open(file, "pt") as opened:
        largest = max(opened.keys(), key=lambda key: torch.Size(opened.get_slice(key).get_shape()).numel())
        dtype = opened.get_tensor(largest).dtype
    return dtype if dtype.is_floating_point and dtype.itemsize > 1 else torch.bfloat16
