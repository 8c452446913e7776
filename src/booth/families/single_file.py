"""Single-file checkpoints: what they are by their keys, and the diffusers folder that is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError, safe_open

from booth.core.commit import committed, verify
from booth.core.errors import BadDataError, DamagedFileError, NotAvailableError, UnsafeFileError
from booth.families.files import UNWANTED
from booth.families.layout import DiffusersFamily
from booth.families.recognition import SOURCE, recognise
from booth.registry import FAMILIES


@dataclass(frozen=True)
class Kind:
    """A kind of file, told by how some of its keys begin."""

    begins: tuple[str, ...]  # any of these
    title: str
    family: str | None = None  # None is no base
    reference: str = ""  # the Hub repository whose configuration and tokenizers it needs


STABLE_DIFFUSION_2 = Kind(
    ("cond_stage_model.model.",), "Stable Diffusion 2.x", "stable_diffusion", "stabilityai/stable-diffusion-2-1"
)

# The first that fits: the more special ones stand above the more general.
KINDS = (
    Kind(("lora_unet_", "lora_te", "lora_transformer_", "unet.", "transformer."), "a LoRA, not a base"),
    Kind(("control_model.", "controlnet_cond_embedding.", "input_hint_block."), "a ControlNet, not a base"),
    Kind(("emb_params", "clip_l", "string_to_param"), "an embedding, not a base"),
    Kind(("edm_mean", "edm_vpred."), "a base with the noise levels of EDM, as Playground v2.5, which cannot be taught"),
    Kind(
        ("conditioner.embedders.1.",),
        "Stable Diffusion XL",
        "stable_diffusion_xl",
        "stabilityai/stable-diffusion-xl-base-1.0",
    ),
    Kind(("conditioner.embedders.0.model.",), "the refiner of Stable Diffusion XL, which cannot be taught"),
    STABLE_DIFFUSION_2,
    Kind(
        ("cond_stage_model.transformer.",),
        "Stable Diffusion 1.x",
        "stable_diffusion",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    Kind(
        ("joint_blocks.37.", "model.diffusion_model.joint_blocks.37."),
        "Stable Diffusion 3.5 large",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3.5-large",
    ),
    Kind(
        ("joint_blocks.0.x_block.attn2.", "model.diffusion_model.joint_blocks.0.x_block.attn2."),
        "Stable Diffusion 3.5 medium",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3.5-medium",
    ),
    Kind(
        ("joint_blocks.", "model.diffusion_model.joint_blocks."),
        "Stable Diffusion 3",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
    ),
    Kind(("single_stream_modulation.", "model.diffusion_model.single_stream_modulation."), "FLUX.2 in a single file"),
    Kind(("distilled_guidance_layer.", "model.diffusion_model.distilled_guidance_layer."), "Chroma"),
    Kind(("guidance_in.", "model.diffusion_model.guidance_in."), "FLUX.1 dev", "flux", "black-forest-labs/FLUX.1-dev"),
    Kind(
        ("double_blocks.", "model.diffusion_model.double_blocks."),
        "FLUX.1 schnell",
        "flux",
        "black-forest-labs/FLUX.1-schnell",
    ),
    Kind(("down_blocks.", "transformer_blocks.", "text_model."), "one part of a base; name the folder that it lies in"),
)

DENOISER = "model.diffusion_model."
FIRST = f"{DENOISER}input_blocks.0.0.weight"
# By the spread of this one, versions 2.x that predict velocity are told from those that predict noise.
TELLING = f"{DENOISER}output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09
INPAINTING = 9  # channels in
SCHEDULER, UNET = "scheduler/scheduler_config.json", "unet/config.json"


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
    with committed(folder, {"kind": "base"}, needed=file.stat().st_size) as work:
        pipe.save_pretrained(work, safe_serialization=True)
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
        raise BadDataError(f"{file} is {kind.title}.", "Name another base.", code="base.unknown_family", field="base")
    if (inputs := _inputs(file)) not in (4, INPAINTING):
        raise BadDataError(
            f"{file} is {kind.title} for editing, with {inputs} channels in, not 4 or {INPAINTING}.",
            code="base.for_editing",
            field="base",
        )
    return kind


def corrections(file: Path, kind: Kind) -> dict[str, dict[str, Any]]:
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
    if kind.family == "flux":
        wanted += ["text_encoder*/*.safetensors", "vae/*.safetensors"]  # its files hold the transformer alone
    try:
        found = snapshot_download(kind.reference, allow_patterns=wanted, ignore_patterns=list(UNWANTED))
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
